"""Files put together (`merging`) and cut (`extracting`); what a layer of each kind has to say about that.

A map's networks are written for other runtimes by `exporting`.
"""
