"""What has changed on the ground since the map was made."""
