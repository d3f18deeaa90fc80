"""Level 9: a map served over HTTP; needs foldmap[serve]."""
