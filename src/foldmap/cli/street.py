"""``foldmap street``: lane graphs that fit images, images that fit lane graphs, and what has changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, put, save_settings, tell, write_bytes, write_text
from foldmap.cli.verbs import App, given, option
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.api.observing_streets import StreetSource
    from foldmap.api.street_changes import FoundChanges

OBSERVED = "Observations"

app = App(help="Work with street maps: retrieve, update, expand, map2pix.", no_args_is_help=True)


@app.callback()
def _street() -> None:
    """Work with street maps: retrieve, update, expand, map2pix."""


MapFile = Annotated[Path, typer.Argument(metavar="MAP.fold", help="The folded street map.")]
Observations = Annotated[
    list[Path],
    typer.Argument(
        metavar="OBSERVATIONS",
        help="Aerial crops (the way ahead up), files or a folder; an ortho GeoTIFF with --poses; a folder with "
        "pairs.csv; or a folder with ring.json and a folder a camera.",
    ),
]
Poses = Annotated[
    Path | None, option(OBSERVED, "Where they were taken: CSV with x_m, y_m, heading_deg or heading_rad, or TUM.")
]
Ring = Annotated[Path | None, option(OBSERVED, "Calibration of the cameras; ring.json of the folder where left out.")]
Camera = Annotated[list[str] | None, option(OBSERVED, "Use this camera of the ring alone; repeat for more.")]
Model = Annotated[Path | None, typer.Option(help="The model; the one in the map where left out.")]
Region = Annotated[str | None, typer.Option(help="Of the map, where it has several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Changes = Annotated[Path, typer.Option("-o", "--output", help="The changes, GeoJSON.")]
Apply = Annotated[bool, typer.Option("--apply", help="Write them into the map, as one transaction.")]
Confidence = Annotated[float, typer.Option(help="Least confidence of a change, 0 to 1.")]
_OF_CHANGES = ("region", "model", "min_confidence", "free_m", "library", "min_similarity")


def _source(context: typer.Context) -> StreetSource:
    from foldmap.api.observing_streets import StreetSource

    asked = context.params
    return StreetSource(asked["observations"], asked["poses"], asked["ring"], asked["camera"] or ())


@app.command(
    short_help="The lane graphs that fit images.",
    epilog="\b\nExamples:\n  foldmap street retrieve map.fold crop.png -o found.jsonl\n"
    "  foldmap street retrieve map.fold crops/ -o found.csv --top 5 --apart 20 --geojson found.geojson\n"
    "  foldmap street retrieve map.fold ortho.tif --poses poses.csv -o found.jsonl --picture found.png\n"
    "  foldmap street retrieve map.fold drive/ --camera front -o found.jsonl --near 1200,800 --radius 300",
)
def retrieve(
    context: typer.Context,
    fold_file: MapFile,
    observations: Observations,
    output: Annotated[Path, typer.Option("-o", "--output", help="Results: .jsonl, a line an observation, or .csv.")],
    top: Annotated[int, typer.Option(help="Results an observation.")] = 5,
    apart: Annotated[
        float, typer.Option(help="One result a place: others are so far away, metres; 0 for all places.")
    ] = 10.0,
    min_similarity: Annotated[
        float | None, typer.Option(help="Below this cosine an observation has no match; else what suits the model.")
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Search this region alone; repeat for more.")] = None,
    near: Annotated[str | None, typer.Option(metavar="X,Y", help="Search around this point (with --radius).")] = None,
    radius: Annotated[float | None, typer.Option(help="So far around it, metres.")] = None,
    box: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Search within these edges, metres.")] = None,
    search: Annotated[
        str, typer.Option(help="auto (exact to 50,000 places, then lists), exact, lists, hnsw.")
    ] = "auto",
    geojson: Annotated[Path | None, typer.Option(help="Write the retrieved lane graphs, in the map's place.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw images beside retrieved graphs to this PNG.")] = None,
    poses: Poses = None,
    ring: Ring = None,
    camera: Camera = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find the places of a street map whose lane graphs fit images.

    Similarity is the cosine of embeddings, -1 to 1. An observation to which nothing is similar has the status no_match
    and no results. Exit status 1 when nothing was found at all.
    """
    from foldmap.api import opened
    from foldmap.api.retrieving import retrieve_places
    from foldmap.atlas.whole import together
    from foldmap.street.library import Fence

    suffix = output.suffix.lower()
    if suffix not in (".jsonl", ".json", ".csv"):
        raise ConfigError(f"results cannot be written as {output.suffix or output.name!r}", "name it .jsonl or .csv")
    centre, sides = _numbers(near, 2, "--near"), _numbers(box, 4, "--box")
    fence = Fence(centre, radius, sides)  # type: ignore[arg-type]  # so many numbers
    with opened.open(fold_file) as town, bars() as begin:
        chosen: dict[str, Any] = {"top": top, "apart_m": apart, "min_similarity": min_similarity, "search": search}
        found = retrieve_places(
            town.street, _source(context), begin, regions=region or (), fence=fence, model=model, **chosen
        )
        tell(found.seen.notes)
        with together():
            write_text(output, found.text(suffix == ".csv"))
            if geojson is not None:
                found.write_graphs(geojson)
            if picture is not None:
                write_bytes(picture, found.picture())
            save_settings(output, "street retrieve", {**given(context), "min_similarity": found.min_similarity})
    put({"results": output, **found.summary}, as_json)
    if not found.summary["by_status"].get("ok"):
        raise typer.Exit(1)


def _numbers(text: str | None, count: int, option: str) -> tuple[float, ...] | None:
    """Read so many finite numbers, ``1,2,3``."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ConfigError(f"{option} is {text!r}", f"give {count} numbers with commas between them")
    return values


@app.command(
    short_help="What has changed since the map was made.",
    epilog="\b\nExamples:\n  foldmap street update map.fold drive/ --poses poses.csv -o changes.geojson\n"
    "  foldmap street update map.fold ortho.tif --poses poses.csv -o changes.geojson --min-confidence 0.5 --apply\n"
    "  foldmap street update map.fold pairs/ -o changes.geojson --model out/update/model.safetensors --json",
)
def update(
    context: typer.Context,
    fold_file: MapFile,
    observations: Observations,
    output: Changes,
    apply: Apply = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(help="Least confidence of a change, 0 to 1; what the model was found to need if left out."),
    ] = None,
    poses: Poses = None,
    region: Region = None,
    ring: Ring = None,
    camera: Camera = None,
    model: Annotated[
        Path | None, typer.Option(help="Of foldmap train street --update; else the map's or a shipped one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what was seen with the map there: lanes added, removed, moved, each with a confidence.

    The evidence of all windows is laid together, so more of them see more surely. Changes count from the confidence on
    at which drives past unchanged lanes told at most 0.2 false ones a km, by a bound: foldmap train street --update
    --hold-out sets it; 0.35 where nobody did, 0.6 where the shipped model doubts lanes that are most likely there.
    Without --apply the map stays as it is; with it the tiles that changed are written in one transaction, embeddings
    included.
    """
    from foldmap.api.street_changes import find_updates

    _change(context, find_updates)


@app.command(
    short_help="Add lanes where the map has none.",
    epilog="\b\nExamples:\n  foldmap street expand map.fold drive/ --poses poses.csv -o new.geojson --apply\n"
    "  foldmap street expand map.fold drive/ --poses poses.csv -o new.geojson --from-library city.fold",
)
def expand(
    context: typer.Context,
    fold_file: MapFile,
    observations: Observations,
    output: Changes,
    apply: Apply = False,
    min_confidence: Confidence = 0.35,
    free_m: Annotated[
        float, typer.Option("--free", help="Places count that have no mapped lane within this, metres.")
    ] = 10.0,
    library: Annotated[
        Path | None, typer.Option("--from-library", metavar="LIBRARY.fold", help="Take this map's most similar graphs.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Least cosine of a graph from the library; else what suits the model.")
    ] = None,
    poses: Poses = None,
    region: Region = None,
    ring: Ring = None,
    camera: Camera = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Add lanes where the map has none yet.

    At places outside the map lanes are read from the images, laid together over all windows and traced; with
    --from-library the most similar graph of another map is taken at each place, laid together and traced likewise.
    They are joined to the ends of lanes that are there. Confidence is the mean strength along a lane, 0 to 1.
    """
    from foldmap.api.street_changes import find_new_lanes

    _change(context, find_new_lanes)


def _change(context: typer.Context, find: Callable[..., FoundChanges]) -> None:
    """Find changes, apply them where asked to, write them."""
    from foldmap.atlas.whole import together

    asked = context.params
    own = {name: asked[name] for name in _OF_CHANGES if name in asked}
    with bars() as begin:
        found = find(asked["fold_file"], _source(context), begin("Looking at images"), **own)
    tell(found.notes)
    with together():  # the map last: what was written to it is told
        applied = bool(asked["apply"] and found.changes)
        found.write(asked["output"], applied)
        save_settings(asked["output"], f"street {context.info_name}", given(context))
        done = found.put_into(asked["fold_file"]) if applied else None
    put({"file": asked["output"], **found.summary(done)}, asked["as_json"])


@app.command(
    short_help="The images that fit a lane graph.",
    epilog="\b\nExamples:\n"
    "  foldmap street map2pix map.fold pairs/ --at 120,340,90 -o fitting.jsonl --picture fitting.png\n"
    "  foldmap street map2pix city.osm crops/ --at 20,-35,180 --model model.safetensors -o fitting.jsonl",
)
def map2pix(
    context: typer.Context,
    street_map: Annotated[Path, typer.Argument(metavar="MAP.fold|STREETMAP", help="A folded map, or any street map.")],
    observations: Observations,
    at: Annotated[str, typer.Option(metavar="X,Y,DEG", help="Place in the map and heading, from x, degrees.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The images, best first: .jsonl.")],
    top: Annotated[int, typer.Option(help="How many images.")] = 5,
    picture: Annotated[Path | None, typer.Option(help="Draw the graph and the images to this PNG.")] = None,
    region: Region = None,
    poses: Poses = None,
    ring: Ring = None,
    camera: Camera = None,
    model: Annotated[
        Path | None, typer.Option(help="The model; the one in the map, or a shipped one where left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the images that fit the lane graph at a place of a map, by similarity."""
    from foldmap.api.retrieving import graph_at
    from foldmap.atlas.whole import together
    from foldmap.geometry import SE2
    from foldmap.geometry.se2 import wrap_rad

    if top < 1:
        raise ConfigError(f"{top} images", "give at least one")
    x_m, y_m, heading_deg = _numbers(at, 3, "--at") or ()
    wanted = graph_at(street_map, SE2(x_m, y_m, wrap_rad(math.radians(heading_deg))), region, model)
    with bars() as begin:
        seen = _source(context).open(wanted.model.window)
        tell(seen.notes)
        found = wanted.best_images(seen, top, begin("Looking at images"))
    rows = [
        {"rank": rank, "observation": seen.names[number], "similarity": round(score, 5)}
        for rank, (score, number) in enumerate(found, start=1)
    ]
    with together():
        write_text(output, "".join(json.dumps(row) + "\n" for row in rows))
        save_settings(output, "street map2pix", given(context))
        if picture is not None:
            write_bytes(picture, wanted.picture(seen, found))
    summary = {"region": wanted.region, "lane_m_in_the_window": round(wanted.graph.length_m, 1)}
    best = {"best": rows[0]["observation"], "best_similarity": rows[0]["similarity"]}
    put({"results": output, **summary, "observations": len(seen), **best}, as_json)
