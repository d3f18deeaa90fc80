"""``foldmap fold``."""
