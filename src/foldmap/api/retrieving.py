"""Street maps and images find each other: the lane graphs that fit images, and the images that fit a lane graph."""

import csv
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api import opened
from foldmap.api.observing_streets import StreetObservations, StreetSource
from foldmap.api.plain import plain
from foldmap.api.results import Begin
from foldmap.api.street_layers import layer_model, one_region
from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.street.geojson import LineFeature, write_features
from foldmap.geometry import SE2
from foldmap.localize.street.estimate import least_similarity
from foldmap.street.defaults import default_model
from foldmap.street.graph.chains import polylines, resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.images.ground import BirdsEye
from foldmap.street.library import Fence, PlaceLibrary, read_library, window_at
from foldmap.street.model import EmbeddingModel, read_street_model
from foldmap.street.search import SearchIndex, images_for_graph
from foldmap.street.source import LaneGraph
from foldmap.street.unfold import FoldedStreet

_COLUMNS = ("observation", "status", "rank", "region", "x_m", "y_m", "heading_deg", "similarity")
_MOST_ROWS, _MOST_GRAPHS = 8, 3
_PICTURE_PX = 160


@dataclass(frozen=True)
class FoundPlaces:
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

    def results(self, library: PlaceLibrary) -> list[dict[str, Any]]:
        """One row a result."""
        rows = []
        for rank, (score, row) in enumerate(zip(self.scores, self.rows, strict=True), start=1):
            pose = library.pose(row)
            at = {"x_m": pose.x_m, "y_m": pose.y_m, "heading_deg": math.degrees(pose.heading_rad)}
            found = {"rank": rank, "region": library.region_of(row), **{key: round(at[key], 3) for key in at}}
            rows.append(found | {"similarity": round(score, 5)})
        return rows


@dataclass(frozen=True)
class GraphRetrieval:
    """What all observations found in a library of places with graphs of this window, while the map is open.

    Nothing matched below the least similarity; the summary is for people.
    """

    seen: StreetObservations
    found: list[FoundPlaces]
    library: PlaceLibrary
    window: Window
    summary: dict[str, Any]
    min_similarity: float

    def text(self, as_csv: bool) -> str:
        """JSON lines, one an observation; or CSV, a line a result, one too for an observation without any."""
        if not as_csv:
            lines = [
                {"observation": one.name, "status": one.status, "best_similarity": one.best}
                | {"results": one.results(self.library)}
                for one in self.found
            ]
            return "".join(json.dumps(plain(line)) + "\n" for line in lines)
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for one in self.found:
            for row in one.results(self.library) or [{}]:
                writer.writerow({"observation": one.name, "status": one.status, **row})
        return text.getvalue()

    def write_graphs(self, path: Path) -> None:
        """Write the lane graphs around the results as GeoJSON, where they are in the map."""
        features, library = [], self.library
        for one in self.found:
            for row, place in zip(one.results(library), one.rows, strict=True):
                graph = library.graph(place, self.window).moved(library.pose(place))
                crs = library.layer.region(library.region_of(place)).crs
                features.append(LineFeature(polylines(graph), crs, {"observation": one.name, **row}))
        write_features(path, features)

    def picture(self) -> bytes:
        """PNG of the first observations from above, the truth where it is known, and the best graphs."""
        from foldmap.report.street_windows import WindowRow, window_rows

        eye = BirdsEye(self.window, _PICTURE_PX)
        rows: list[WindowRow] = []
        for number, one in enumerate(self.found):
            observation = self.seen.read(number)
            if observation is None or len(rows) == _MOST_ROWS:
                continue
            graphs = [("truth", self.seen.truth(number))] if self.seen.truth is not None else []
            best = list(zip(one.scores, one.rows, strict=True))[:_MOST_GRAPHS]
            graphs += [(f"{score:.2f}", self.library.graph(row, self.window)) for score, row in best]
            while len(best) < _MOST_GRAPHS:
                graphs.append(("" if best else one.status, LaneGraph.empty()))
                best.append((0.0, 0))
            rows.append(WindowRow(one.name, [("seen from above", eye(observation)[0])], graphs))
        return window_rows(rows, self.window)


def retrieve_places(
    layer: FoldedStreet,
    source: StreetSource,
    begin: Begin,
    *,
    top: int = 5,
    apart_m: float = 10.0,
    min_similarity: float | None = None,
    regions: Sequence[str] = (),
    fence: Fence | None = None,
    search: str = "auto",
    model: Path | None = None,
) -> GraphRetrieval:
    """Find the places of a street map whose lane graphs fit what is seen.

    Each observation gets its `top` results, those of one region at least `apart_m` apart (0: all places count). Below
    `min_similarity` (what suits the model where None) it has no match.
    """
    if top < 1 or not 0 <= apart_m < math.inf or not -1 <= (min_similarity or 0) <= 1:
        said = f"{top} results {apart_m} m apart, from a similarity of {min_similarity}"
        raise ConfigError(said, "give at least one result, metres from 0, and a similarity from -1 to 1")
    embedder = layer_model(layer, model)
    least = least_similarity(embedder, min_similarity)
    seen = source.open(embedder.window)
    library = read_library(layer, regions, begin("Reading the map"), embedder)
    among = None if fence is None else fence.rows(library)
    index = SearchIndex.build(library.vectors, search)
    embeddings = seen.embedded(embedder, begin("Looking at images"))
    started_s, found = time.perf_counter(), []
    for name, row in zip(seen.names, embeddings, strict=True):
        if row is None:
            found.append(FoundPlaces(name, "no_observation", [], [], None))
            continue
        scores, rows = library.most_similar(index, row, top, apart_m, among)
        count = sum(score >= least for score in scores)
        best = scores[0] if scores else None
        found.append(FoundPlaces(name, "ok" if count else "no_match", scores[:count], rows[:count], best))
    searching_s = time.perf_counter() - started_s
    best_of_all = sorted(one.best for one in found if one.best is not None)
    summary = {
        "observations": len(found),
        "by_status": dict(Counter(one.status for one in found)),
        "places": len(library),
        "search": index.kind,
        "median_similarity": round(best_of_all[len(best_of_all) // 2], 4) if best_of_all else None,
        "milliseconds_a_search": round(1000 * searching_s / max(1, len(found)), 3),
    }
    return GraphRetrieval(seen, found, library, embedder.window, summary, least)


@dataclass(frozen=True)
class WantedGraph:
    """The lane graph that images are to fit, in the ego frame and cut to the window of the model that embeds both."""

    region: str
    graph: LaneGraph
    model: EmbeddingModel

    def best_images(
        self, seen: StreetObservations, count: int, report: Callable[[int, int], None]
    ) -> list[tuple[float, int]]:
        """Similarity and number of the observations that fit best; a MapInputError where none shows anything."""
        rows = enumerate(seen.embedded(self.model, report))
        there = {number: row for number, row in rows if row is not None}
        if not there:
            raise MapInputError("none of the observations shows anything", "give images of the cameras that count")
        index = SearchIndex.build(np.stack(list(there.values())).astype(np.float32))
        scores, ids = images_for_graph(index, self.model.embed_graphs([self.graph])[0], count)
        numbers = list(there)
        return [(float(score), numbers[int(k)]) for score, k in zip(scores, ids, strict=True)]

    def picture(self, seen: StreetObservations, found: Sequence[tuple[float, int]]) -> bytes:
        """PNG of the graph, and below each other the images that fit it, from above."""
        from foldmap.report.street_windows import WindowRow, window_rows

        eye, rows = BirdsEye(self.model.window, _PICTURE_PX), []
        for score, number in found[:_MOST_ROWS]:
            observation = seen.read(number)
            assert observation is not None
            graphs = [("wanted", self.graph), *([("truth", seen.truth(number))] if seen.truth is not None else [])]
            rows.append(WindowRow(seen.names[number], [(f"{score:.2f}", eye(observation)[0])], graphs))
        return window_rows(rows, self.model.window)


def graph_at(path: Path, pose: SE2, region: str | None = None, model: Path | None = None) -> WantedGraph:
    """Cut the graph around a pose out of a folded or any other street map.

    The model is the map's, or the shipped one, where none is given. No lane at that place is a MapInputError.
    """
    if path.suffix.lower() == ".fold":
        with opened.open(path) as town:
            known = layer_model(town.street, model)
            name = one_region([one.name for one in town.street.regions], region)
            graph = window_at(town.street, name, pose, known.window)
    else:
        from foldmap.formats.street.maps import read_street_maps

        known = read_street_model(model) if model is not None else default_model()
        maps = {one.name: one.graph for one in read_street_maps(path)}
        name = one_region(list(maps), region)
        graph = resample(cut(maps[name], pose, known.window), 1.0)
    if not len(graph.edges):
        said = f"{name!r} has no lane in the window about ({pose.x_m:g}, {pose.y_m:g})"
        raise MapInputError(said, "choose another place")
    return WantedGraph(name, graph, known)
