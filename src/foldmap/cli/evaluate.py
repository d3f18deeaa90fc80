"""``foldmap evaluate``: estimates against the truth."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put
from foldmap.cli.verbs import option, options_of

EXAMPLES = (
    "\b\nExamples:\n  foldmap evaluate estimates.txt truth.txt\n"
    "  foldmap evaluate estimates.txt truth.txt --json --plot errors.svg\n"
    "  foldmap evaluate poses.txt scene/sparse --thresholds '0.005,0.5 0.02,2'\n"
    "  foldmap evaluate poses.txt.jsonl scene/sparse --unit radius --plot errors.svg"
)


def evaluate(
    context: typer.Context,
    estimates: Annotated[
        Path, typer.Argument(help="What foldmap localize wrote: TUM, hloc text, .jsonl, or a run's folder.")
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            help="True poses. Sweeps: TUM, KITTI, a drive with truth. "
            "Photos: COLMAP, 7-Scenes, kapture, TUM, KITTI, hloc."
        ),
    ],
    time_limit: Annotated[
        float | None, typer.Option(help="Times of estimates and truth farther apart do not belong together, s; 0.01.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", "--picture", help="Draw the distribution of the error to this SVG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    calibration: Annotated[Path | None, option("Sweeps", "KITTI calib.txt, when the truth is the camera's.")] = None,
    segment_m: Annotated[
        float, option("Sweeps", "Failure rates are over segments of so many metres.", "--segment")
    ] = 1000.0,
    limit_m: Annotated[float, option("Sweeps", "A segment fails at an error beyond this, metres.", "--limit")] = 1.0,
    thresholds: Annotated[
        str, option("Photos", "'0.05,5 0.25,2' (centre,degrees), or aachen, cambridge, 7scenes, tight.")
    ] = "",
    unit: Annotated[str | None, option("Photos", "m, world, or radius (percent of the true model's radius).")] = None,
    queries: Annotated[Path | None, option("Photos", "List of what was asked, where no .jsonl lies beside.")] = None,
) -> None:
    """Compare estimates with the truth.

    Sweeps: every true pose counts; one that has no estimate has infinite error. Statuses are counted from
    ESTIMATES.jsonl where that tells of the same poses. Photos: every query that has a true pose counts; one that was
    not answered has infinite error. ESTIMATES.jsonl tells which were asked; without it give --queries. Rows are paired
    by whole names or nearest times; what was paired, how, and as what it was judged is printed too.
    """
    from foldmap.api.judging.evaluating_photos import compare_photos, why_photos
    from foldmap.api.judging.runs import estimates_of

    estimates = estimates_of(estimates)
    why = "--queries is given" if queries is not None else why_photos(estimates, truth)
    if why:
        own = options_of(context, "photos", why=f", and {estimates} is about photos ({why})")
        shown = compare_photos(estimates, truth, limit_s=time_limit, plot=plot, **own)
        shown["judged"] = f"photos, in 6 degrees of freedom: {why}"
    else:
        from foldmap.api.judging.evaluating_sweeps import compare_sweeps

        own = options_of(context, "sweeps", why=f", and {estimates} is not about photos")
        shown = compare_sweeps(estimates, truth, limit_s=time_limit, plot=plot, **own)
    put(shown, as_json)
