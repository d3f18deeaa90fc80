"""Structure-from-motion scenes: built from photos, checked, joined with their features."""
