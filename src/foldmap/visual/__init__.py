"""Level 3: structure-from-motion models become chosen points with quantized descriptors; images match them."""
