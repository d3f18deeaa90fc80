"""Camera rings and aerial crops in a folded street map."""
