"""``foldmap export``: a map's networks for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_file

EXAMPLES = "\b\nExamples:\n  foldmap export town.fold -o device/"


def export(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The map.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write the networks that localizing in a map needs as ONNX files, and device.json, which says what each takes.

    foldmap itself needs none of them: it makes its graphs from the map. They are for runtimes of other languages.
    Each is held against the original where torch is installed. With kernels of a byte a number it lies beside, as
    NAME.int8.onnx, where that changes its output by no more than a hundredth.
    """
    from foldmap.api.reshaping.exporting import export_networks

    require_file(fold_file)
    put(export_networks(fold_file, output), as_json)
