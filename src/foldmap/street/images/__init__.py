"""Cameras and aerial photos as images of the ground."""
