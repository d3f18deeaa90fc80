"""``foldmap bench``."""
