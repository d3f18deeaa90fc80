"""Level 3: the street layer. Lane graphs and camera images in one embedding space (Pix2Map)."""
