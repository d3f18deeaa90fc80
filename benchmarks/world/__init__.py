"""Rows about foldmap in the world: served over HTTP."""
