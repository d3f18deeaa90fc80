"""Level 5: one file per format of the outside world."""
