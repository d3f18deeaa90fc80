"""Differentiable product quantization: the D-PQED layer, its losses and training."""
