"""``foldmap build``."""
