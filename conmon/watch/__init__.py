"""Watching containers from outside: their start and end, and their process trees."""
