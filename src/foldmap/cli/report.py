"""``foldmap report``: one page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_folder

EXAMPLES = (
    "\b\nExamples:\n  foldmap report run/\n  foldmap report estimates.txt -o run.html\n"
    "  foldmap report estimates.txt --truth truth.txt --map map.fold -o run.html"
)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="What foldmap localize wrote, or the folder of it.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PAGE.html", help="The page; else report.html in the run's folder."),
    ] = None,
    fold_file: Annotated[
        Path | None, typer.Option("--map", metavar="MAP.fold", help="Draw this map below; else the run's, if there.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="True poses, as evaluate takes them, or a drive with truth.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write one self-contained page about a run: where it went, error, sigma and protection level over time, failures.

    It needs nothing from anywhere, and shows on a phone, by day and by night.
    """
    from foldmap.api.judging.reporting import check_page, report_run

    if output is None:
        output = (run if run.is_dir() else run.parent) / "report.html"
    check_page(output)
    require_folder(output)
    put(report_run(run, output, fold_file=fold_file, truth=truth), as_json)
