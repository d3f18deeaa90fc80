"""Rows of the visual layer."""
