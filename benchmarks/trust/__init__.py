"""Whether answers can be trusted, layer by layer: the rows of `make scoreboard LAYER=trust`."""
