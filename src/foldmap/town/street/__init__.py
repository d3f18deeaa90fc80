"""The town's street map, its ortho images and training pairs."""
