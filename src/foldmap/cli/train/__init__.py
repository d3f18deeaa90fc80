"""``foldmap train``."""
