"""The street benchmark."""
