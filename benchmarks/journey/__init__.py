"""Figures of the journey: all layers of one file, from nothing to centimetres."""
