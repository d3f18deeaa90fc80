"""``foldmap street update`` and ``expand``: what has changed, what the map lacks; found, written, applied."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, put, require_folder, save_settings, say
from foldmap.cli.street import options
from foldmap.cli.street.library import open_street
from foldmap.cli.street.localize import one_region
from foldmap.cli.street.observations import Seen, open_seen
from foldmap.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from foldmap.cli.street.changes import Ground
    from foldmap.geometry import SE2
    from foldmap.street.changes.detect import Change, ChangeSettings
    from foldmap.street.changes.evidence import Evidence
    from foldmap.street.field.draw import FieldSpec
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.unfold import StreetLayer

UPDATE_EXAMPLES = (
    "\b\nExamples:\n  foldmap street update map.fold drive/ --poses poses.csv -o changes.geojson\n"
    "  foldmap street update map.fold ortho.tif --poses poses.csv -o changes.geojson --min-confidence 0.5 --apply\n"
    "  foldmap street update map.fold pairs/ -o changes.geojson --model out/update/model.safetensors --json"
)
EXPAND_EXAMPLES = (
    "\b\nExamples:\n  foldmap street expand map.fold drive/ --poses poses.csv -o new.geojson --apply\n"
    "  foldmap street expand map.fold drive/ --poses poses.csv -o new.geojson --from-library city.fold"
)
Begin = Callable[[str], Callable[[int, int], None]]
Output = Annotated[Path, typer.Option("-o", "--output", help="The changes, GeoJSON.")]
Apply = Annotated[bool, typer.Option("--apply", help="Write them into the map, as one transaction.")]
Confidence = Annotated[float, typer.Option(help="Least confidence of a change, 0 to 1.")]


@dataclass(frozen=True)
class ChangeOptions:
    """What a user may say about finding changes.

    Attributes:
        apply: write them into the map.
        min_confidence: least mean evidence of a change.
        region: of the map.
        model: whose network finds them.
        poses, ring, cameras: of the observations.
        free_m: expand: an observation counts that has no lane of the map within this.
        library: expand: a map whose graphs are retrieved, instead of tracing lanes in images.
        min_similarity: of retrieved graphs.
    """

    apply: bool = False
    min_confidence: float = 0.35
    region: str | None = None
    model: Path | None = None
    poses: Path | None = None
    ring: Path | None = None
    cameras: tuple[str, ...] = ()
    free_m: float = 10.0
    library: Path | None = None
    min_similarity: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.min_confidence <= 1:
            raise ConfigError(f"a confidence of {self.min_confidence}", "give more than 0, and 1 at most")
        if not (math.isfinite(self.free_m) and self.free_m >= 0):
            raise ConfigError(f"no lane within {self.free_m} m", "give metres from 0")


def update(
    fold_file: options.FoldFileArgument,
    observations: options.Observations,
    output: Output,
    apply: Apply = False,
    min_confidence: Confidence = 0.35,
    poses: options.Poses = None,
    region: options.OneRegion = None,
    ring: options.Ring = None,
    camera: options.Camera = None,
    model: Annotated[
        Path | None, typer.Option(help="Of foldmap train street --update; else the map's or a shipped one.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare what was seen with the map there: lanes added, removed, moved, each with a confidence.

    The evidence of all windows is laid together, so more of them see more surely. Without --apply the map stays as it
    is; with it the tiles that changed are written in one transaction, embeddings included.
    """
    asked = ChangeOptions(apply, min_confidence, region, model, poses, ring, tuple(camera or ()))
    with bars() as begin:
        put(update_map(fold_file, observations, output, asked, begin), as_json)


def expand(
    fold_file: options.FoldFileArgument,
    observations: options.Observations,
    output: Output,
    apply: Apply = False,
    min_confidence: Confidence = 0.35,
    free: Annotated[float, typer.Option(help="Places count that have no mapped lane within this, metres.")] = 10.0,
    from_library: Annotated[
        Path | None, typer.Option(metavar="LIBRARY.fold", help="Take the most similar graphs of this map instead.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Least cosine of a graph from the library; else what suits the model.")
    ] = None,
    poses: options.Poses = None,
    region: options.OneRegion = None,
    ring: options.Ring = None,
    camera: options.Camera = None,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Add lanes where the map has none yet.

    At places outside the map lanes are read from the images, laid together over all windows and traced; with
    --from-library the most similar graph of another map is taken at each place, laid together and traced likewise.
    They are joined to the ends of lanes that are there. Confidence is the mean strength along a lane, 0 to 1.
    """
    asked = ChangeOptions(
        apply, min_confidence, region, model, poses, ring, tuple(camera or ()), free, from_library, min_similarity
    )
    with bars() as begin:
        put(expand_map(fold_file, observations, output, asked, begin), as_json)


def _silent(doing: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def update_map(
    fold_file: Path, observations: Sequence[Path], output: Path, asked: ChangeOptions, begin: Begin = _silent
) -> dict[str, Any]:
    """Find changes, write them, and apply them if asked to; the command without its printing.

    Args:
        fold_file: with a street layer.
        observations: see `foldmap.cli.street.observations.open_seen`.
        output: GeoJSON; its settings are written beside it.
        asked: see there.
        begin: makes a callback for a kind of work.

    Raises:
        FoldmapError: what was brought cannot be used; the map is then as it was.
    """
    from foldmap.cli.street.changes import compared
    from foldmap.cli.street.model import update_model

    require_folder(output)
    started_s = time.perf_counter()
    with open_street(fold_file) as layer:
        model = update_model(asked.model, layer)
        seen, ground, poses = _opened(layer, observations, asked, model)
        numbers = list(range(len(seen)))
        report = begin("Comparing images with the map")
        kept, evidence = compared(model, ground, seen, poses, numbers, report)
        embedder = _embedder(layer) if asked.apply else None
    summary = _finished(fold_file, output, ground, (kept, evidence, model.field), embedder, asked)
    save_settings(output, "street update", {"map": fold_file, "observations": list(observations), **asdict(asked)})
    return {**summary, "windows": len(kept), "seconds": round(time.perf_counter() - started_s, 2)}


def expand_map(
    fold_file: Path, observations: Sequence[Path], output: Path, asked: ChangeOptions, begin: Begin = _silent
) -> dict[str, Any]:
    """Find lanes outside the map, write them, and apply them if asked to; arguments and errors as `update_map`."""
    from foldmap.cli.street.changes import compared, outside, read_fields
    from foldmap.cli.street.model import layer_model, read_street_model
    from foldmap.street.field.model import FieldEmbedding

    require_folder(output)
    started_s = time.perf_counter()
    with open_street(fold_file) as layer:
        model = read_street_model(asked.model) if asked.model is not None else layer_model(layer)
        seen, ground, poses = _opened(layer, observations, asked, model)
        numbers = outside(ground, poses, asked.free_m)
        if len(numbers) < len(seen):
            say(f"note: {len(seen) - len(numbers)} of {len(seen)} observations are where the map has lanes: left out")
        report = begin("Looking at images")
        spec = model.field if isinstance(model, FieldEmbedding) else None
        if asked.library is not None:
            kept, evidence, spec = _from_library(asked, model, ground, (seen, poses, numbers), spec, report)
        elif not isinstance(model, FieldEmbedding):
            raise ModelError(f"a model {model.name} traces no lanes", "give a field model, or --from-library MAP.fold")
        elif model.network.shape.with_map:
            kept, evidence = compared(model, ground, seen, poses, numbers, report)
        else:
            kept, evidence = read_fields(model, ground, seen, poses, numbers, report)
        embedder = _embedder(layer) if asked.apply else None
    assert spec is not None
    summary = _finished(fold_file, output, ground, (kept, evidence, spec), embedder, asked, added_only=True)
    save_settings(output, "street expand", {"map": fold_file, "observations": list(observations), **asdict(asked)})
    return {**summary, "windows": len(kept), "seconds": round(time.perf_counter() - started_s, 2)}


def _opened(
    layer: StreetLayer, observations: Sequence[Path], asked: ChangeOptions, model: EmbeddingModel
) -> tuple[Seen, Ground, list[SE2]]:
    from foldmap.cli.street.changes import ground_of

    seen = open_seen(observations, model.window, ring=asked.ring, cameras=asked.cameras, poses=asked.poses)
    for note in seen.notes:
        say(f"note: {note}")
    poses = seen.placed(asked.poses)
    return seen, ground_of(layer, one_region(layer, seen, asked.region)), poses


def _embedder(layer: StreetLayer) -> EmbeddingModel | None:
    """The model that the file's embeddings are of: they are made again where lanes changed."""
    from foldmap.street.update import depends_on_model

    return layer.model() if depends_on_model(layer) else None


def _from_library(
    asked: ChangeOptions,
    model: EmbeddingModel,
    ground: Ground,
    brought: tuple[Seen, list[SE2], list[int]],
    spec: FieldSpec | None,
    report: Callable[[int, int], None],
) -> tuple[list[SE2], list[Evidence], FieldSpec]:
    """The most similar graph at each place, drawn as a field."""
    from foldmap.cli.street.changes import retrieved_fields
    from foldmap.cli.street.library import read_library, search_index
    from foldmap.cli.street.observations import embed
    from foldmap.localize.street.estimate import least_similarity
    from foldmap.street.field.draw import FieldSpec

    least = least_similarity(model, asked.min_similarity)
    seen, poses, numbers = brought
    assert asked.library is not None
    field = spec or FieldSpec(window=model.window)
    part = Seen(tuple(seen.names[k] for k in numbers), lambda k: seen.look(numbers[k]))
    with open_street(asked.library) as layer:
        if layer.codec is not None and layer.dimension != model.dim:
            raise ModelError(
                f"{asked.library} has embeddings of {layer.dimension} numbers, the model makes {model.dim}",
                "fold the library with this model",
            )
        library = read_library(layer, model=model)
        index = search_index(library, "auto")
        kept, graphs, unlike = [], [], 0
        for k, row in zip(numbers, embed(model, part, report), strict=True):
            if row is None:
                continue
            scores, rows = index.search(row, 1)
            if float(scores[0, 0]) < least:
                unlike += 1
                continue
            kept.append(poses[k])
            graphs.append(library.graph(int(rows[0, 0]), model.window))
    if unlike:
        say(f"note: nothing in {asked.library} is similar to {unlike} observations")
    return kept, retrieved_fields(graphs, kept, ground, field), field


def _finished(
    fold_file: Path,
    output: Path,
    ground: Ground,
    found: tuple[list[SE2], list[Evidence], FieldSpec],
    embedder: EmbeddingModel | None,
    asked: ChangeOptions,
    added_only: bool = False,
) -> dict[str, Any]:
    """Name the changes, apply them where asked to, write them."""
    from foldmap.cli.street.changes import put_changes, settings_of, told, write_changes

    settings = settings_of(asked.min_confidence)
    changes = _named(ground, found, settings, added_only)
    done = None
    if asked.apply and changes:
        done = put_changes(fold_file, ground, changes, embedder, settings)
    write_changes(output, changes, ground, done is not None)
    return {"file": str(output), "region": ground.region, **told(changes, done)}


def _named(
    ground: Ground,
    found: tuple[list[SE2], list[Evidence], FieldSpec],
    settings: ChangeSettings,
    added_only: bool,
) -> list[Change]:
    from foldmap.street.changes.detect import ADDED, find_changes

    poses, evidence, spec = found
    if not poses:
        return []
    changes = find_changes(ground.dense, poses, evidence, spec, settings)
    return [one for one in changes if one.kind == ADDED] if added_only else changes
