"""Photos and their local features."""
