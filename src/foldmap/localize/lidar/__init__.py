"""Sweeps in a folded lidar map."""
