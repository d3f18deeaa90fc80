"""Training pairs of the lidar layer."""
