"""A photo against the points of a map: matches, then a pose."""
