"""Level 3: lidar intensity rasters become binary codes; sweeps match them."""
