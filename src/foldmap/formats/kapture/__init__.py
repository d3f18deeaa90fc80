"""kapture datasets."""
