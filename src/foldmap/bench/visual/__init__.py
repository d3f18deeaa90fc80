"""The visual benchmark."""
