"""Lanelet2 maps in OSM XML."""
