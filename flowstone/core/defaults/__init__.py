"""Implementations that need nothing: the in-memory ones, and the codec of the standard library."""
