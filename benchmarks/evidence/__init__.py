"""Figures that were measured and are kept: one results file a run, and the documents' tables made from these files."""
