"""The networks of the paper: a graph transformer and an image encoder that meet in one embedding space."""
