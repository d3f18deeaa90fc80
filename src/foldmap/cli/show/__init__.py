"""``foldmap show`` and ``verify``."""
