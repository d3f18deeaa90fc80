"""Rasters: GeoTIFF in and out."""
