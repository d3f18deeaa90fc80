"""Level 5: the generated town: streets and paint, the sensors that see them, maps and training pairs."""
