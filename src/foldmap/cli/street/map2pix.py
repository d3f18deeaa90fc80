"""``foldmap street map2pix``: the images that fit a lane graph."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, plain, put, require_folder, save_settings, say, write_bytes, write_text
from foldmap.cli.street import options
from foldmap.cli.street.library import numbers_of, open_street, window_at
from foldmap.cli.street.observations import Seen, embed, look, open_seen
from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from foldmap.geometry import SE2
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.source import LaneGraph

EXAMPLES = (
    "\b\nExamples:\n  foldmap street map2pix map.fold pairs/ --at 120,340,90 -o fitting.jsonl --picture fitting.png\n"
    "  foldmap street map2pix city.osm crops/ --at 20,-35,180 --model model.safetensors -o fitting.jsonl"
)
_MOST_ROWS = 8
Begin = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class Wanted:
    """The graph that images are to fit: region, where, and the graph in the ego frame."""

    region: str
    pose: SE2
    graph: LaneGraph
    model: EmbeddingModel


def map2pix(
    street_map: Annotated[Path, typer.Argument(metavar="MAP.fold|STREETMAP", help="A folded map, or any street map.")],
    observations: options.Observations,
    at: Annotated[str, typer.Option(metavar="X,Y,DEG", help="Place in the map and heading, from x, degrees.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The images, best first: .jsonl.")],
    top: Annotated[int, typer.Option(help="How many images.")] = 5,
    picture: Annotated[Path | None, typer.Option(help="Draw the graph and the images to this PNG.")] = None,
    region: options.OneRegion = None,
    poses: options.Poses = None,
    ring: options.Ring = None,
    camera: options.Camera = None,
    model: Annotated[
        Path | None, typer.Option(help="The model; the one in the map, or a shipped one where left out.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Find the images that fit the lane graph at a place of a map, by similarity."""
    if top < 1:
        raise ConfigError(f"{top} images", "give at least one")
    require_folder(output)
    x, y, heading = numbers_of(at, 3, "--at")
    wanted = wanted_at(street_map, (x, y, heading), region, model)
    with bars() as begin:
        seen = open_seen(observations, wanted.model.window, ring=ring, cameras=camera or (), poses=poses)
        for note in seen.notes:
            say(f"note: {note}")
        found = fitting(wanted, seen, top, begin("Looking at images"))
    rows = [
        {"rank": rank, "observation": seen.names[number], "similarity": round(score, 5)}
        for rank, (score, number) in enumerate(found, start=1)
    ]
    write_text(output, "".join(json.dumps(plain(row)) + "\n" for row in rows))
    save_settings(output, "street map2pix", {"map": street_map, "at": [x, y, heading], "model": model, "top": top})
    if picture is not None:
        write_bytes(picture, draw(wanted, seen, found))
    summary: dict[str, Any] = {
        "results": str(output),
        "region": wanted.region,
        "lane_m_in_the_window": round(wanted.graph.length_m, 1),
        "observations": len(seen),
        "best": rows[0]["observation"],
        "best_similarity": rows[0]["similarity"],
    }
    put(summary, as_json)


def wanted_at(path: Path, at: tuple[float, float, float], region: str | None, model: Path | None) -> Wanted:
    """Cut the graph out of a folded or any other street map.

    Raises:
        MapInputError: no street map, or no lane at that place.
        ConfigError: the map has several regions, and none is named.
    """
    from foldmap.cli.street.model import layer_model, read_street_model, shipped_model
    from foldmap.geometry import SE2
    from foldmap.geometry.se2 import wrap_rad
    from foldmap.street.graph.chains import resample
    from foldmap.street.graph.window import cut

    pose = SE2(at[0], at[1], wrap_rad(math.radians(at[2])))
    if path.suffix.lower() == ".fold":
        with open_street(path) as layer:
            known = layer_model(layer, model)
            name = _one([one.name for one in layer.regions], region, path)
            graph = window_at(layer, name, pose, known.window)
    else:
        from foldmap.formats.street.maps import read_street_maps

        known = read_street_model(model) if model is not None else shipped_model()
        maps = {one.name: one.graph for one in read_street_maps(path)}
        name = _one(list(maps), region, path)
        graph = resample(cut(maps[name], pose, known.window), 1.0)
    if not len(graph.edges):
        raise MapInputError(f"{name!r} has no lane in the window about ({at[0]:g}, {at[1]:g})", "choose another place")
    return Wanted(name, pose, graph, known)


def _one(names: Sequence[str], told: str | None, path: Path) -> str:
    if told is not None and told not in names:
        raise ConfigError(f"{path} has no region {told!r}", f"it has {', '.join(names[:8])}")
    if told is None and len(names) > 1:
        raise ConfigError(f"{path} has {len(names)} regions", f"give --region: {', '.join(names[:8])}")
    return told if told is not None else names[0]


def fitting(
    wanted: Wanted, seen: Seen, top: int, report: Callable[[int, int], None] = lambda done, total: None
) -> list[tuple[float, int]]:
    """Similarity and number of the images that fit best.

    Raises:
        MapInputError: nothing was seen in any of them.
    """
    import numpy as np

    from foldmap.street.search import SearchIndex, images_for_graph

    rows = embed(wanted.model, seen, report)
    numbers = [number for number, row in enumerate(rows) if row is not None]
    if not numbers:
        raise MapInputError("none of the observations shows anything", "give images of the cameras that count")
    index = SearchIndex.build(np.stack([row for row in rows if row is not None]).astype(np.float32))
    scores, ids = images_for_graph(index, wanted.model.embed_graphs([wanted.graph])[0], top)
    return [(float(score), numbers[int(k)]) for score, k in zip(scores, ids, strict=True)]


def draw(wanted: Wanted, seen: Seen, found: Sequence[tuple[float, int]]) -> bytes:
    """The graph, and below each other the images that fit it, from above."""
    from foldmap.report.street_windows import WindowRow, window_rows
    from foldmap.street.images.ground import BirdsEye

    eye, rows = BirdsEye(wanted.model.window, 160), []
    for score, number in found[:_MOST_ROWS]:
        observation = look(seen, number)
        assert observation is not None
        graphs = [("wanted", wanted.graph)]
        if seen.truth is not None:
            graphs.append(("truth", seen.truth(number)))
        rows.append(WindowRow(seen.names[number], [(f"{score:.2f}", eye(observation)[0])], graphs))
    return window_rows(rows, wanted.model.window)
