"""Run methods on cases once and keep the answers on disk."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foldmap.bench.common.kept import KeptAnswers, as_json
from foldmap.bench.lidar.cases import Benchmark, Match, Method
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.lidar.source import RasterMap

SCHEMA = 1
Pose = tuple[float, float, float]
"""x, y in metres and heading in radians."""


@dataclass(frozen=True)
class Prediction:
    """One answer with the size of the map it was found in."""

    name: str  # of the case
    true_pose: Pose  # where the vehicle was
    prior_pose: Pose  # where it was believed to be
    pose: Pose | None  # the answer, or None
    score: float  # the matcher's
    payload_bytes: int  # of the folded map
    observed_m2: float  # ground that map holds
    raster_px: int  # pixels of its raster, observed or not
    resolution_m: float  # of the raster
    diagnostics: dict[str, float | str]  # the matcher's

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
    """Answer all cases with one method; see `predict_all`."""
    return predict_all([method], benchmark, cache_dir, progress)[0]


def predict_all(
    methods: Sequence[Method],
    benchmark: Benchmark,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Predictions]:
    """Answer all cases with several methods, or read the answers that the cache directory keeps.

    Cases are made once, and matchers on one codec share its folded map. Progress is told as (done, all). Raises
    ConfigError: two methods have one name, or kept answers come from another configuration.
    """
    names = [method.name for method in methods]
    if len(set(names)) != len(names):
        raise ConfigError(f"methods share a name among {names}", "give each codec and matcher a name of its own")
    kept = KeptAnswers(cache_dir)
    wanted = {method.name: _configuration(method, benchmark) for method in methods}
    found = {name: kept.read(name, wanted[name], _read_predictions) for name in names}
    open_methods = [m for m in methods if found[m.name] is None]
    rows: dict[str, list[Prediction]] = {m.name: [] for m in open_methods}
    folded: dict[str, tuple[str, int, Any]] = {}
    for done, case in enumerate(benchmark.cases() if open_methods else (), start=1):
        for method in open_methods:
            key = method.codec.name
            if key not in folded or folded[key][0] != case.map_key:
                payload = method.codec.encode(case.raster)
                folded[key] = case.map_key, len(payload), method.codec.decode(payload)
            _, size, decoded = folded[key]
            match = method.matcher.match(case.query, decoded, benchmark.search)
            poses = case.world_SE2_true, case.query.world_SE2_prior
            rows[method.name].append(prediction_of(case.name, *poses, match, size, case.raster))
        if progress:
            progress(done, len(benchmark))
    for name, answered in rows.items():
        found[name] = Predictions(name, wanted[name], tuple(answered))
        kept.write(name, wanted[name], {"method": name, "rows": [asdict(row) for row in answered]})
    return [answers for name in names if (answers := found[name]) is not None]


def prediction_of(
    name: str, world_SE2_true: SE2, world_SE2_prior: SE2, match: Match, payload_bytes: int, raster: RasterMap
) -> Prediction:
    """Put an answer, its truth and the size of its map into one row."""
    pose, grid = match.world_SE2_vehicle, raster.grid
    poses = _triple(world_SE2_true), _triple(world_SE2_prior), None if pose is None else _triple(pose)
    area_px, said = grid.height_px * grid.width_px, dict(match.diagnostics)
    return Prediction(
        name, *poses, float(match.score), payload_bytes, raster.observed_m2, area_px, grid.resolution_m, said
    )


def _triple(pose: SE2) -> Pose:
    return float(pose.x_m), float(pose.y_m), float(pose.heading_rad)


def _configuration(method: Method, benchmark: Benchmark) -> dict[str, Any]:
    """Everything that decides the answers."""
    parts = {"codec": _settings(method.codec), "matcher": _settings(method.matcher), "settings": method.settings}
    return as_json({"schema": SCHEMA, **benchmark.configuration(), **parts})


def _settings(part: Any) -> dict[str, Any]:
    """Name of a codec or matcher, and its fields where it is a dataclass of plain values."""
    fields = getattr(part, "__dataclass_fields__", {})
    plain = {k: getattr(part, k) for k in fields if isinstance(getattr(part, k), str | int | float | bool)}
    return {"name": part.name, **plain}


def _read_predictions(document: dict[str, Any]) -> Predictions:
    rows = []
    for row in document["rows"]:
        poses = {k: row[k] and tuple(float(v) for v in row[k]) for k in ("true_pose", "prior_pose", "pose")}
        if any(pose is not None and len(pose) != 3 for pose in poses.values()) or poses["true_pose"] is None:
            raise ValueError(f"poses of {row['name']}")
        rows.append(Prediction(**{**row, **poses}))
    return Predictions(str(document["method"]), dict(document["configuration"]), tuple(rows))
