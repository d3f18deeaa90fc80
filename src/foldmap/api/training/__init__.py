"""From what a user has to a model of one's own: what is learned from, the run, and the model file, for each layer."""
