"""A ground-intensity raster from a drive."""
