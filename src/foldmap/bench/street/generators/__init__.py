"""Generators trained on the same pairs as retrieval, in the styles that the paper compares with."""
