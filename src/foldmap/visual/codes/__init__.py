"""Positions, descriptors, visibility and poses as few bytes."""
