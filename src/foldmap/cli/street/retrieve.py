"""``foldmap street retrieve``: the lane graphs of a map that fit what is seen, best first."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, plain, put, require_folder, save_settings, say, write_bytes, write_text
from foldmap.cli.street import options
from foldmap.cli.street.library import Fence, Library, open_street, read_library, search_index
from foldmap.cli.street.observations import Seen, embed, look, open_seen
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.search import SearchIndex
    from foldmap.types import FloatArray, IntArray

EXAMPLES = (
    "\b\nExamples:\n  foldmap street retrieve map.fold crop.png -o found.jsonl\n"
    "  foldmap street retrieve map.fold crops/ -o found.csv --top 5 --apart 20 --geojson found.geojson\n"
    "  foldmap street retrieve map.fold ortho.tif --poses poses.csv -o found.jsonl --picture found.png\n"
    "  foldmap street retrieve map.fold drive/ --camera front -o found.jsonl --near 1200,800 --radius 300"
)
_MOST_ROWS, _MOST_COLUMNS = 8, 3
Begin = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class RetrieveOptions:
    """What a user may say about retrieval.

    Attributes:
        top: results an observation.
        apart_m: two results of one region are at least so far apart; 0: all places count.
        min_similarity: below it an observation has no match; what suits the model where None.
        regions: to search; all where empty.
        fence: within the region.
        search: auto, exact, lists or hnsw.
        model: instead of the map's.
        poses, ring, cameras: of the observations.
    """

    top: int = 5
    apart_m: float = 10.0
    min_similarity: float | None = None
    regions: tuple[str, ...] = ()
    fence: Fence = Fence()  # noqa: RUF009 - frozen
    search: str = "auto"
    model: Path | None = None
    poses: Path | None = None
    ring: Path | None = None
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.top < 1 or not 0 <= self.apart_m < math.inf or not -1 <= (self.min_similarity or 0) <= 1:
            raise ConfigError(
                f"{self.top} results {self.apart_m} m apart, from a similarity of {self.min_similarity}",
                "give at least one result, metres from 0, and a similarity from -1 to 1",
            )


@dataclass(frozen=True)
class Retrieved:
    """What one observation found.

    Attributes:
        name: of the observation.
        status: "ok"; "no_match": nothing is similar enough; "no_observation": no camera that counts has an image.
        scores: cosine similarity, best first.
        rows: of the library, best first.
        best: the highest similarity, also where it is no match.
    """

    name: str
    status: str
    scores: list[float]
    rows: list[int]
    best: float | None


def retrieve(
    fold_file: options.FoldFileArgument,
    observations: options.Observations,
    output: Annotated[Path, typer.Option("-o", "--output", help="Results: .jsonl, a line an observation, or .csv.")],
    top: Annotated[int, typer.Option(help="Results an observation.")] = 5,
    apart: Annotated[
        float, typer.Option(help="One result a place: others are so far away, metres; 0 for all places.")
    ] = 10.0,
    min_similarity: Annotated[
        float | None, typer.Option(help="Below this cosine an observation has no match; else what suits the model.")
    ] = None,
    region: options.Region = None,
    near: Annotated[str | None, typer.Option(metavar="X,Y", help="Search around this point (with --radius).")] = None,
    radius: Annotated[float | None, typer.Option(help="So far around it, metres.")] = None,
    box: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Search within these edges, metres.")] = None,
    search: Annotated[
        str, typer.Option(help="auto (exact to 50,000 places, then lists), exact, lists, hnsw.")
    ] = "auto",
    geojson: Annotated[Path | None, typer.Option(help="Write the retrieved lane graphs, in the map's place.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw images beside retrieved graphs to this PNG.")] = None,
    poses: options.Poses = None,
    ring: options.Ring = None,
    camera: options.Camera = None,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Find the places of a street map whose lane graphs fit images.

    Similarity is the cosine of embeddings, -1 to 1. An observation to which nothing is similar has the status no_match
    and no results. Exit status 1 when nothing was found at all.
    """
    fence = Fence.of(near, radius, box)
    asked = RetrieveOptions(
        top, apart, min_similarity, tuple(region or ()), fence, search, model, poses, ring, tuple(camera or ())
    )
    with bars() as begin:
        summary = retrieve_graphs(fold_file, observations, output, asked, geojson, picture, begin)
    put(summary, as_json)
    if not summary["by_status"].get("ok"):
        raise typer.Exit(1)


def retrieve_graphs(
    fold_file: Path,
    observations: Sequence[Path],
    output: Path,
    asked: RetrieveOptions,
    geojson: Path | None = None,
    picture: Path | None = None,
    begin: Begin = lambda doing: lambda done, total: None,
) -> dict[str, Any]:
    """Retrieve; the command without its printing.

    Args:
        fold_file: with a street layer that has places.
        observations: see `foldmap.cli.street.observations.open_seen`.
        output: .jsonl or .csv; its settings are written beside it.
        asked: see there.
        geojson: where retrieved graphs are written, in the frame of the map.
        picture: PNG of the first observations.
        begin: makes a callback for a kind of work.

    Returns:
        The summary that the command prints.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.cli.street.model import layer_model
    from foldmap.localize.street.estimate import least_similarity

    for target in (output, geojson, picture):
        if target is not None:
            require_folder(target)
    if output.suffix.lower() not in (".jsonl", ".json", ".csv"):
        raise ConfigError(f"results cannot be written as {output.suffix or output.name!r}", "name it .jsonl or .csv")
    with open_street(fold_file) as layer:
        model = layer_model(layer, asked.model)
        asked = replace(asked, min_similarity=least_similarity(model, asked.min_similarity))
        seen = open_seen(observations, model.window, ring=asked.ring, cameras=asked.cameras, poses=asked.poses)
        for note in seen.notes:
            say(f"note: {note}")
        library = read_library(layer, asked.regions, begin("Reading the map"), model)
        among = asked.fence.rows(library)
        index = search_index(library, asked.search)
        rows = embed(model, seen, begin("Looking at images"))
        started_s = time.perf_counter()
        found = [
            search_one(index, library, name, row, asked, among) for name, row in zip(seen.names, rows, strict=True)
        ]
        searching_s = time.perf_counter() - started_s
        write_text(output, as_csv(found, library) if output.suffix.lower() == ".csv" else as_lines(found, library))
        if geojson is not None:
            write_graphs(geojson, found, library, model)
        if picture is not None:
            write_bytes(picture, draw(seen, found, library, model))
        save_settings(
            output, "street retrieve", {"map": fold_file, "observations": list(observations), **asdict(asked)}
        )
        best = [one.best for one in found if one.best is not None]
        return {
            "results": str(output),
            "observations": len(found),
            "by_status": dict(Counter(one.status for one in found)),
            "places": len(library),
            "search": index.kind,
            "median_similarity": round(sorted(best)[len(best) // 2], 4) if best else None,
            "milliseconds_a_search": round(1000 * searching_s / max(1, len(found)), 3),
        }


def search_one(
    index: SearchIndex,
    library: Library,
    name: str,
    row: FloatArray | None,
    asked: RetrieveOptions,
    among: IntArray | None = None,
) -> Retrieved:
    """The best places of one observation."""
    from foldmap.street.fences import search_places

    if row is None:
        return Retrieved(name, "no_observation", [], [], None)
    if asked.apart_m > 0:
        scores, ids = search_places(index, row, asked.top, library.xy_m, asked.apart_m, library.region, among)
    else:
        many, rows = index.search(row, asked.top, among)
        scores, ids = many[0], rows[0]
    least = -1.0 if asked.min_similarity is None else asked.min_similarity
    pairs = [(float(s), int(i)) for s, i in zip(scores, ids, strict=True) if s >= least]
    best = float(scores[0]) if len(scores) else None
    return Retrieved(name, "ok" if pairs else "no_match", [s for s, _ in pairs], [i for _, i in pairs], best)


def result_rows(found: Retrieved, library: Library) -> list[dict[str, Any]]:
    """Results as plain data."""
    rows = []
    for rank, (score, row) in enumerate(zip(found.scores, found.rows, strict=True), start=1):
        pose = library.pose(row)
        rows.append(
            {
                "rank": rank,
                "region": library.region_of(row),
                "x_m": round(pose.x_m, 3),
                "y_m": round(pose.y_m, 3),
                "heading_deg": round(math.degrees(pose.heading_rad), 3),
                "similarity": round(score, 5),
            }
        )
    return rows


def as_lines(found: Sequence[Retrieved], library: Library) -> str:
    """One JSON object an observation."""
    lines = [
        {
            "observation": one.name,
            "status": one.status,
            "best_similarity": one.best,
            "results": result_rows(one, library),
        }
        for one in found
    ]
    return "".join(json.dumps(plain(line)) + "\n" for line in lines)


def as_csv(found: Sequence[Retrieved], library: Library) -> str:
    """One line a result; an observation without any has one line, too."""
    columns = ["observation", "status", "rank", "region", "x_m", "y_m", "heading_deg", "similarity"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for one in found:
        for row in result_rows(one, library) or [{}]:
            writer.writerow({"observation": one.name, "status": one.status, **row})
    return text.getvalue()


def write_graphs(path: Path, found: Sequence[Retrieved], library: Library, model: EmbeddingModel) -> None:
    """Write the lane graphs around the results, where they are in the map."""
    from foldmap.formats.street.findings import LineFeature, write_features
    from foldmap.street.graph.chains import polylines

    features = []
    for one in found:
        for row, place in zip(result_rows(one, library), one.rows, strict=True):
            graph = library.graph(place, model.window).moved(library.pose(place))
            crs = library.layer.region(library.region_of(place)).crs
            features.append(LineFeature(polylines(graph), crs, {"observation": one.name, **row}))
    write_features(path, features)


def draw(seen: Seen, found: Sequence[Retrieved], library: Library, model: EmbeddingModel) -> bytes:
    """Images from above, the truth where it is known, and the best graphs, for the first observations."""
    from foldmap.report.street_windows import WindowRow, window_rows
    from foldmap.street.images.ground import BirdsEye
    from foldmap.street.source import LaneGraph

    eye = BirdsEye(model.window, 160)
    rows: list[WindowRow] = []
    for number, one in enumerate(found):
        observation = look(seen, number)
        if observation is None or len(rows) == _MOST_ROWS:
            continue
        graphs = [("truth", seen.truth(number))] if seen.truth is not None else []
        for k in range(_MOST_COLUMNS):
            if k < len(one.rows):
                graphs.append((f"{one.scores[k]:.2f}", library.graph(one.rows[k], model.window)))
            else:
                graphs.append((one.status if k == 0 else "", LaneGraph.empty()))
        rows.append(WindowRow(one.name, [("seen from above", eye(observation)[0])], graphs))
    return window_rows(rows, model.window)
