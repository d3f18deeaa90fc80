"""Level 4: from matching scores to honest estimates, once and over time."""
