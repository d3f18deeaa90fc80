"""``foldmap evaluate``."""
