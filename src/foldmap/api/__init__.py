"""Level 8: the front door. From what a user has to folded maps, and from observations to answers."""
