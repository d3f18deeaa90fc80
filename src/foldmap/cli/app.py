"""The command line as a whole: its verbs, and how an error becomes one line."""

import signal
from typing import Annotated

import typer

from foldmap.cli import (
    calibrate,
    evaluate,
    export,
    fold,
    localize,
    report,
    serve,
    show,
    street,
    unfold,
    verify,
    view,
)
from foldmap.cli.bench import lidar as bench
from foldmap.cli.build import lidar as build
from foldmap.cli.demo import command as demo
from foldmap.cli.reshaping import diff, extract, merge, patch
from foldmap.cli.train import command as train
from foldmap.cli.verbs import App, Verbs
from foldmap.version import __version__

app = App(
    name="foldmap",
    cls=Verbs,
    help="Fold a map into one small file, and localize in that file.",
    epilog="\b\nStart here:\n  foldmap demo -o out/demo\n  foldmap fold map.tif -o map.fold --budget 1MB\n"
    "  foldmap localize map.fold sweeps/ --poses prior.txt -o estimates.txt",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"foldmap {__version__}")
        raise typer.Exit


@app.callback()
def _foldmap(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fold a map into one small file, and localize in that file."""


app.command("demo", short_help="Map, fold and localize in a generated town; writes a report.", epilog=demo.EXAMPLES)(
    demo.demo
)
app.add_typer(build.app, name="build")
app.add_typer(train.app, name="train")
app.command("fold", short_help="Fold a map into one small file.", epilog=fold.EXAMPLES)(fold.fold)
app.command("localize", short_help="Localize sweeps, photos or street observations.", epilog=localize.EXAMPLES)(
    localize.localize
)
app.command("evaluate", short_help="Compare estimates with the truth.", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("calibrate", short_help="Set what a map says of its errors by a drive.", epilog=calibrate.EXAMPLES)(
    calibrate.calibrate
)
app.command("report", short_help="One page about a run.", epilog=report.EXAMPLES)(report.report)
app.command("view", short_help="A map and a run as a rerun recording.", epilog=view.EXAMPLES)(view.view)
app.add_typer(street.app, name="street")
app.add_typer(bench.app, name="bench")
app.command("show", short_help="Show what a file holds and where its bytes go.", epilog=show.EXAMPLES)(show.show)
app.command("verify", short_help="Check that a file is sound.", epilog=verify.EXAMPLES)(verify.verify)
app.command(
    "unfold", short_help="Decode what a localizer matches, into files that others read.", epilog=unfold.EXAMPLES
)(unfold.unfold)
app.command("export", short_help="Write a map's networks for other runtimes.", epilog=export.EXAMPLES)(export.export)
app.command("merge", short_help="Put files together.", epilog=merge.EXAMPLES)(merge.merge)
app.command("extract", short_help="Take a part of a map as a map of its own.", epilog=extract.EXAMPLES)(extract.extract)
app.command("diff", short_help="Write what another version of a map changes, as a patch.", epilog=diff.EXAMPLES)(
    diff.diff
)
app.command("serve", short_help="Serve a map over HTTP.", epilog=serve.EXAMPLES)(serve.serve)
app.command("patch", short_help="Put a patch into a map.", epilog=patch.EXAMPLES)(patch.patch)


def _end(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line."""
    from foldmap.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    for number in (signal.SIGTERM, signal.SIGHUP):  # what is half written is removed, as after Ctrl-C
        if signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, _end)
    app(prog_name="foldmap")
