"""Level 6: baselines, protocols and the papers' tables: predict, keep, score, show."""
