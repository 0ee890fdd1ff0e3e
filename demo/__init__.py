"""The demonstration: a small container manager that runs one real container under conmon."""
