"""Level 0: the release, which files and settings name."""

__version__ = "0.20.0"
