"""Patches: what one version of a .fold file has and another has not (``docs/format.md``, section *Patches*)."""

from foldmap.atlas.patches.apply import apply_patch
from foldmap.atlas.patches.diff import PatchReport, write_patch

__all__ = ["PatchReport", "apply_patch", "write_patch"]
