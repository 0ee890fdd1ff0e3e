"""conmon: the monitor that a container manager starts beside every container."""
