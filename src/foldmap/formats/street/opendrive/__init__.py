"""OpenDRIVE maps."""
