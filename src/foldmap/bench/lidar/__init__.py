"""The lidar benchmark."""
