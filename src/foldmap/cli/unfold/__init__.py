"""``foldmap unfold``."""
