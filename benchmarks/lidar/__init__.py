"""Rows of the lidar layer."""
