"""Files put together (`merging`) and cut (`extracting`); what a layer of each kind has to say about that."""
