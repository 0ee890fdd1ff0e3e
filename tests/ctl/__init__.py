"""Tests of conmonctl."""
