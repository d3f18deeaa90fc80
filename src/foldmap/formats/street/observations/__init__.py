"""What is seen of streets: images, camera rings, aerial tiles, and poses of them."""
