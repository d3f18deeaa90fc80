"""Photos in a folded visual map."""
