"""Options that the street verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FoldFileArgument = Annotated[Path, typer.Argument(metavar="MAP.fold", help="The folded street map.")]
Observations = Annotated[
    list[Path],
    typer.Argument(
        metavar="OBSERVATIONS...",
        help="Aerial crops (the way ahead up), files or a folder; an ortho GeoTIFF with --poses; a folder with "
        "pairs.csv; or a folder with ring.json and a folder a camera.",
    ),
]
Poses = Annotated[
    Path | None,
    typer.Option(help="Where the observations were taken: CSV with x_m, y_m, heading_deg or heading_rad, or TUM."),
]
Ring = Annotated[Path | None, typer.Option(help="Calibration of the cameras; ring.json of the folder where left out.")]
Camera = Annotated[list[str] | None, typer.Option(help="Use this camera of the ring alone; repeat for more.")]
Model = Annotated[Path | None, typer.Option(help="The model; the one in the map where left out.")]
Region = Annotated[list[str] | None, typer.Option(help="Search this region alone; repeat for more.")]
OneRegion = Annotated[str | None, typer.Option(help="Of the map, where it has several.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
