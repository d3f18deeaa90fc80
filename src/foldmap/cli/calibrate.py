"""``foldmap calibrate``: a map learns from a drive how far off its answers are."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_file

EXAMPLES = (
    "\b\nExamples:\n  foldmap calibrate map.fold estimates.txt truth.txt -o calibrated.fold\n"
    "  foldmap calibrate scene.fold poses.txt scene/sparse --elsewhere other.txt -o calibrated.fold"
)


def calibrate(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The map that was localized in.")],
    estimates: Annotated[Path, typer.Argument(help="What foldmap localize wrote of a drive with your sensor.")],
    truth: Annotated[
        Path, typer.Argument(help="Its true poses. Sweeps and streets: TUM or KITTI. Photos: COLMAP, TUM, hloc ...")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="NEW.fold", help="The map with its calibration.")],
    elsewhere: Annotated[
        Path | None, typer.Option(metavar="ESTIMATES", help="The same of a drive that is not in this map.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Times of estimates and truth farther apart do not belong together, s; 0.01.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Calibrate a map to your own sensor: what a sigma is worth, how far errors go beyond, what chance reaches.

    Localize a drive whose poses you know (20 answers at least, some hundred tell more), then give both. Standard
    deviations are scaled until errors lie where they say, and the tail beyond sets the protection level. What is
    printed of the other half of the drive was set on the first half alone. ELSEWHERE are answers to a drive that cannot
    be in the map, which tell how much chance explains.
    """
    from foldmap.api.judging.calibrating import calibrate_map

    for path in (fold_file, estimates):
        require_file(path)
    put(calibrate_map(fold_file, estimates, truth, output, elsewhere=elsewhere, limit_s=time_limit), as_json)
