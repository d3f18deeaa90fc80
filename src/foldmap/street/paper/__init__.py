"""The paper's embedding model (Pix2Map): encoders, losses, training."""
