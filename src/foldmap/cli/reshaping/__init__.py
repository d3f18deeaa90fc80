"""The verbs that make files of files: merge, extract, diff, patch."""
