"""``foldmap demo``."""
