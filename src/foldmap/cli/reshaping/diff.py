"""``foldmap diff``: what one version of a map has and another has not, as a patch."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_file

EXAMPLES = "\b\nExamples:\n  foldmap diff monday.fold tuesday.fold -o tuesday.foldpatch"


def diff(
    base: Annotated[Path, typer.Argument(metavar="OLD.fold", help="What vehicles have.")],
    after: Annotated[Path, typer.Argument(metavar="NEW.fold", help="What they are to have.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The patch, like new.foldpatch.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write what turns one file into another: the tiles, models and parameters that differ.

    The patch is for that one file and leads to that other one, byte for byte; foldmap patch refuses any other.
    """
    from foldmap.atlas.patches import write_patch

    require_file(base)
    require_file(after)
    put({"patch": output, **asdict(write_patch(base, after, output))}, as_json)
