"""Figures of the whole house: what files weigh, how fast the front door opens, what the tree looks like."""
