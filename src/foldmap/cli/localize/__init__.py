"""``foldmap localize``."""
