"""``foldmap patch``: the next version of a map, by a patch."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_file

EXAMPLES = (
    "\b\nExamples:\n  foldmap patch town.fold tuesday.foldpatch\n"
    "  foldmap patch monday.fold tuesday.foldpatch -o tuesday.fold"
)


def patch(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The file that the patch is for.")],
    patch_file: Annotated[Path, typer.Argument(metavar="NEXT.foldpatch", help="Of foldmap diff.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The next version; else it replaces the file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Put a patch into a file, in one transaction: whoever reads meanwhile sees the old map or the new one.

    The file must be the one that the patch was made for; the result is the one that it leads to, byte for byte.
    """
    from foldmap.atlas.patches import apply_patch

    require_file(fold_file)
    changes = apply_patch(fold_file, patch_file, output)
    target = fold_file if output is None else output
    put({"file": target, "file_bytes": target.stat().st_size, "changes": changes}, as_json)
