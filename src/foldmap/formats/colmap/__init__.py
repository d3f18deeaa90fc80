"""COLMAP: models, binary or text, and databases."""
