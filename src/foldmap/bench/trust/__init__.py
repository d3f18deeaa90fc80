"""Whether an answer can be trusted: hostile queries of anybody's map, counted by kind."""
