"""``foldmap street``."""
