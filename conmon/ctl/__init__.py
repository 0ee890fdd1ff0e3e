"""conmonctl, the tool for people."""
