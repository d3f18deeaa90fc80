"""Street maps: every format that lanes come in."""
