"""Formats of other people: maps, scenes, sweeps, poses, lists.

What is missing, cut short, damaged or of another kind is a `MapInputError`, `PoseInputError` or `SweepInputError` that
names the file and the place in it, with a cure. Docstrings name errors only where there is more to say.
"""
