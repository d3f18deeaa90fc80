"""Rows of the street layer."""
