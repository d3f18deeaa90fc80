"""Localize all queries with each method and keep the answers on disk."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.bench.common.kept import KeptAnswers, as_json
from foldmap.bench.visual.methods import MapSpec, MatcherOfMethod
from foldmap.bench.visual.plain import PlainLocalizer
from foldmap.bench.visual.protocol import HeldOut
from foldmap.bench.visual.workshop import BenchMap, Workshop
from foldmap.errors import BudgetError
from foldmap.localize.visual.localizer import VisualLocalizer, VisualSettings
from foldmap.types import DoubleArray
from foldmap.visual.codes.codecs import DescriptorCodec
from foldmap.visual.decoded import VisualMap
from foldmap.visual.source import Query, unit_descriptors

SCHEMA = 1


@dataclass(frozen=True)
class Answer:
    """What came back for one query."""

    name: str  # of the query
    pose: tuple[float, ...] | None  # camera_SE3_world as 16 numbers, row by row, or None
    status: str  # of foldmap's localizer; "ok" or "no_match" of others
    cpu_s: float  # processor time, features given

    @property
    def camera_SE3_world(self) -> DoubleArray | None:
        """float64 (4, 4), or None."""
        return None if self.pose is None else np.array(self.pose, np.float64).reshape(4, 4)


@dataclass(frozen=True)
class Measured:
    """All answers in one map with one matcher; no answers and the `problem` where no map can be made."""

    spec: MapSpec  # the map
    matcher: MatcherOfMethod  # how it was localized in
    points: int = 0  # this and the next three: see `BenchMap`
    code_bytes: int = 0
    file_bytes: int | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()  # one a query
    problem: str = ""  # why there are none


Wanted = tuple[MapSpec, MatcherOfMethod]


def measure_all(
    wanted: Sequence[Wanted],
    held_out: HeldOut,
    workshop: Workshop,
    identity: Mapping[str, Any],
    folder: Path | None = None,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[Wanted, Measured]:
    """Answer all queries in all maps; a map is made once for all its matchers, and not at all where answers are kept.

    ``identity`` holds what decides the answers beside map, matcher and queries, as JSON values. ``report`` is called
    with the map's name, maps done and maps in all. Raises ConfigError: kept answers come from another configuration.
    """
    kept = KeptAnswers(folder)
    configurations = {one: _configuration(held_out, *one, identity) for one in dict.fromkeys(wanted)}
    found: dict[Wanted, Measured] = {}
    by_map: dict[MapSpec, list[MatcherOfMethod]] = {}
    for (spec, matcher), configuration in configurations.items():
        answered = kept.read(_file_name(spec, matcher), configuration, partial(_measured, spec, matcher))
        if answered is None:
            by_map.setdefault(spec, []).append(matcher)
        else:
            found[spec, matcher] = answered
    for number, (spec, matchers) in enumerate(by_map.items()):
        report(spec.name, number, len(by_map))
        for measured in _measure(spec, matchers, held_out, workshop):
            one = spec, measured.matcher
            found[one] = measured
            kept.write(_file_name(*one), configurations[one], _document(measured))
    report("", len(by_map), len(by_map))
    return found


def _measure(
    spec: MapSpec, matchers: Sequence[MatcherOfMethod], held_out: HeldOut, workshop: Workshop
) -> list[Measured]:
    try:
        with workshop.open(spec) as built:
            return [_localized(spec, matcher, built, held_out) for matcher in matchers]
    except BudgetError as error:
        return [Measured(spec, matcher, problem=str(error)) for matcher in matchers]


def _localized(spec: MapSpec, matcher: MatcherOfMethod, built: BenchMap, held_out: HeldOut) -> Measured:
    ask = _asker(built.visual_map, matcher)
    answers = []
    for query in held_out.queries:
        started_s = time.process_time()
        prepared = _coded(query, built.codec) if spec.symmetric and built.codec is not None else query
        pose, status = ask(prepared)
        numbers = None if pose is None else tuple(float(value) for value in pose.ravel())
        answers.append(Answer(query.name, numbers, status, time.process_time() - started_s))
    return Measured(spec, matcher, built.points, built.code_bytes, built.file_bytes, dict(built.parts), tuple(answers))


def _asker(visual_map: VisualMap, matcher: MatcherOfMethod) -> Callable[[Query], tuple[DoubleArray | None, str]]:
    if matcher.refines:
        name = "lightglue" if matcher.weights else "mutual" if matcher.both_ways else "direct"
        settings = VisualSettings(matcher=name, weights=Path(matcher.weights) if matcher.weights else None)
        localizer = VisualLocalizer(visual_map, settings)

        def refined(query: Query) -> tuple[DoubleArray | None, str]:
            estimate = localizer.localize(query)
            return estimate.camera_SE3_world, estimate.status.value

        return refined
    plain = PlainLocalizer(visual_map, matcher.ratio, matcher.both_ways)

    def plain_pose(query: Query) -> tuple[DoubleArray | None, str]:
        pose = plain.localize(query)
        return pose, "no_match" if pose is None else "ok"

    return plain_pose


def _coded(query: Query, codec: DescriptorCodec) -> Query:
    """A query whose unit descriptors are coded and decoded as the map's are."""
    descriptors = unit_descriptors(query.features.descriptors)
    descriptors = codec.decode(codec.encode(descriptors), len(descriptors))
    return replace(query, features=replace(query.features, descriptors=descriptors))


def _configuration(
    held_out: HeldOut, spec: MapSpec, matcher: MatcherOfMethod, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that decides the answers."""
    parts = {"schema": SCHEMA, "queries": held_out.fingerprint, "map": asdict(spec), "matcher": asdict(matcher)}
    return as_json({**parts, **identity})


def _file_name(spec: MapSpec, matcher: MatcherOfMethod) -> str:
    return f"{spec.name}.{matcher.name}"


def _measured(spec: MapSpec, matcher: MatcherOfMethod, document: Mapping[str, Any]) -> Measured:
    """What `_document` was made of."""
    points, code_bytes, file_bytes = (
        None if document[key] is None else int(document[key]) for key in ("points", "code_bytes", "file_bytes")
    )
    parts = {str(key): int(value) for key, value in document["parts"].items()}
    answers = tuple(_read_answer(row) for row in document["answers"])
    return Measured(spec, matcher, points or 0, code_bytes or 0, file_bytes, parts, answers, str(document["problem"]))


def _read_answer(row: Mapping[str, Any]) -> Answer:
    pose = None if row["pose"] is None else tuple(float(value) for value in row["pose"])
    if pose is not None and len(pose) != 16:
        raise ValueError(f"the pose of {row['name']}")
    return Answer(str(row["name"]), pose, str(row["status"]), float(row["cpu_s"]))


def _document(measured: Measured) -> dict[str, Any]:
    """Answers as JSON values."""
    return {
        **{key: getattr(measured, key) for key in ("points", "code_bytes", "file_bytes", "problem")},
        "parts": dict(measured.parts),
        "answers": [asdict(answer) for answer in measured.answers],
    }
