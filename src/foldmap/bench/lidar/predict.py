"""Run methods on cases once, keep the answers on disk, and refuse answers that another configuration gave."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foldmap.bench.lidar.cases import Benchmark, Match, Method
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.lidar.source import RasterMap

SCHEMA = 1


@dataclass(frozen=True)
class Prediction:
    """One answer with the size of the map it was found in.

    Attributes:
        name: of the case.
        true_pose: x, y in metres and heading in radians.
        prior_pose: the same of the prior.
        pose: the answer, or None.
        score: the matcher's.
        payload_bytes: of the folded map.
        observed_m2: ground that map holds.
        raster_px: pixels of its raster, observed or not.
        resolution_m: of the raster.
        diagnostics: the matcher's.
    """

    name: str
    true_pose: tuple[float, float, float]
    prior_pose: tuple[float, float, float]
    pose: tuple[float, float, float] | None
    score: float
    payload_bytes: int
    observed_m2: float
    raster_px: int
    resolution_m: float
    diagnostics: dict[str, float | str]

    @property
    def world_SE2_true(self) -> SE2:
        """The truth."""
        return SE2(*self.true_pose)

    @property
    def world_SE2_estimated(self) -> SE2 | None:
        """The answer, or None."""
        return None if self.pose is None else SE2(*self.pose)


@dataclass(frozen=True)
class Predictions:
    """All answers of one method under one configuration."""

    method: str
    configuration: dict[str, Any]
    rows: tuple[Prediction, ...]

    @property
    def heading_searched(self) -> bool:
        """Whether heading was estimated rather than given."""
        return float(self.configuration.get("search", {}).get("heading_rad", 0.0)) > 0


def predict(
    method: Method,
    benchmark: Benchmark,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Answer all cases with one method, or read the answers that were kept.

    Args:
        method: codec and matcher.
        benchmark: the cases.
        cache_dir: where answers are kept; None keeps none.
        progress: called with (done, all) after each case.

    Raises:
        ConfigError: kept answers come from another configuration.
    """
    return predict_all([method], benchmark, cache_dir, progress)[0]


def predict_all(
    methods: Sequence[Method],
    benchmark: Benchmark,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Predictions]:
    """Answer all cases with several methods; cases are made once, and matchers on one codec share its folded map.

    Raises:
        ConfigError: two methods have one name, or kept answers come from another configuration.
    """
    names = [method.name for method in methods]
    if len(set(names)) != len(names):
        raise ConfigError(f"methods share a name among {names}", "give each codec and matcher a name of its own")
    found = {m.name: _kept(m, benchmark, cache_dir) for m in methods}
    open_methods = [m for m in methods if found[m.name] is None]
    rows: dict[str, list[Prediction]] = {m.name: [] for m in open_methods}
    folded: dict[str, tuple[str, int, Any]] = {}
    for done, case in enumerate(benchmark.cases() if open_methods else (), start=1):
        for method in open_methods:
            key = method.codec.name
            if key not in folded or folded[key][0] != case.map_key:
                payload = method.codec.encode(case.raster)
                folded[key] = case.map_key, len(payload), method.codec.decode(payload)
            _, payload_bytes, decoded = folded[key]
            match = method.matcher.match(case.query, decoded, benchmark.search)
            row = prediction_of(
                case.name, case.world_SE2_true, case.query.world_SE2_prior, match, payload_bytes, case.raster
            )
            rows[method.name].append(row)
        if progress:
            progress(done, len(benchmark))
    for method in open_methods:
        result = Predictions(method.name, _configuration(method, benchmark), tuple(rows[method.name]))
        found[method.name] = result
        if cache_dir is not None:
            write_predictions(result, _path(cache_dir, method.name))
    return [kept for m in methods if (kept := found[m.name]) is not None]


def prediction_of(
    name: str, world_SE2_true: SE2, world_SE2_prior: SE2, match: Match, payload_bytes: int, raster: RasterMap
) -> Prediction:
    """Put an answer, its truth and the size of its map into one row."""
    pose = match.world_SE2_vehicle
    return Prediction(
        name,
        _triple(world_SE2_true),
        _triple(world_SE2_prior),
        None if pose is None else _triple(pose),
        float(match.score),
        payload_bytes,
        raster.observed_m2,
        raster.grid.height_px * raster.grid.width_px,
        raster.grid.resolution_m,
        dict(match.diagnostics),
    )


def _triple(pose: SE2) -> tuple[float, float, float]:
    return float(pose.x_m), float(pose.y_m), float(pose.heading_rad)


def _configuration(method: Method, benchmark: Benchmark) -> dict[str, Any]:
    """Everything that decides the answers, as JSON would give it back."""
    parts = {
        "schema": SCHEMA,
        **benchmark.configuration(),
        "codec": _settings(method.codec),
        "matcher": _settings(method.matcher),
        "settings": method.settings,
    }
    plain: dict[str, Any] = json.loads(json.dumps(parts))
    return plain


def _settings(part: Any) -> dict[str, Any]:
    """Name of a codec or matcher, and its fields where it is a dataclass of plain values."""
    fields = getattr(part, "__dataclass_fields__", {})
    plain = {k: getattr(part, k) for k in fields if isinstance(getattr(part, k), str | int | float | bool)}
    return {"name": part.name, **plain}


def _path(cache_dir: Path, method: str) -> Path:
    return Path(cache_dir) / (re.sub(r"[^A-Za-z0-9.+-]+", "_", method) + ".json")


def _kept(method: Method, benchmark: Benchmark, cache_dir: Path | None) -> Predictions | None:
    if cache_dir is None or not (path := _path(cache_dir, method.name)).exists():
        return None
    kept = read_predictions(path)
    wanted = _configuration(method, benchmark)
    if kept.configuration != wanted:
        keys = {**kept.configuration, **wanted}
        differing = [k for k in sorted(keys) if kept.configuration.get(k) != wanted.get(k)]
        raise ConfigError(
            f"{path} was predicted with other {', '.join(differing)}",
            "delete it, or keep these answers in another folder",
        )
    return kept


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write answers as JSON, through a sibling file."""
    document = {
        "method": predictions.method,
        "configuration": predictions.configuration,
        "rows": [asdict(row) for row in predictions.rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        json.dump(document, file, indent=1, sort_keys=True)
    os.replace(file.name, path)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        ConfigError: the file is something else or damaged.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = tuple(_read_row(row) for row in document["rows"])
        return Predictions(str(document["method"]), dict(document["configuration"]), rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} does not hold predictions: {error!r}", "delete it and run the benchmark again"
        ) from error


def _read_row(row: dict[str, Any]) -> Prediction:
    poses = {
        k: None if row[k] is None else tuple(float(v) for v in row[k]) for k in ("true_pose", "prior_pose", "pose")
    }
    if any(pose is not None and len(pose) != 3 for pose in poses.values()) or poses["true_pose"] is None:
        raise ValueError(f"poses of {row['name']}")
    return Prediction(**{**row, **poses})
