"""Decide on what was served. Pure: no clock, no I/O, no randomness."""
