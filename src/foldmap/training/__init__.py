"""Training, once for all layers: the loop, its checkpoint, and a model as bytes."""
