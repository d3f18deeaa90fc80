"""Exhaustive matching over x, y and heading."""
