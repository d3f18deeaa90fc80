"""Inputs that once went wrong, asked again."""
