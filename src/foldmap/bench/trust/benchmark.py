"""Ask hostile and right queries in maps, count the answers by kind, hold sigma and levels against the errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.bench.common.tables import ResultPage
from foldmap.bench.trust.answers import Answer, Expect, Stage, counted, hostile, kind_rows, placed
from foldmap.bench.trust.photos import Open, PhotoSet, ask_photos
from foldmap.bench.trust.streets import StreetSet, ask_streets
from foldmap.bench.trust.sweeps import SweepSet, ask_sweeps
from foldmap.errors import ConfigError
from foldmap.metrics.consistency import consistency, level_score, observed_shares
from foldmap.report.trust_figures import calibration_plot, kinds_plot

_AS_IS = ("as taken", "as driven")
_LEAST = 5  # errors that a curve is drawn of
_COLUMNS = {
    "kind": "query",
    "expect": "asks for",
    "asked": "asked",
    "ok_right": "ok, right",
    "ok_beyond": "ok, beyond its bound",
    "degraded": "degraded",
    "degraded_beyond": "of them beyond",
    "refused": "refused",
    "median_time_s": "median [s]",
}
_SIGMA = {
    "map": "map",
    "of": "error of",
    "answers": "answers",
    "within_1_sigma_pct": "within 1 sigma [%]",
    "gaussian_1_sigma_pct": "Gaussian",
    "within_2_sigma_pct": "2 sigma",
    "gaussian_2_sigma_pct": "Gaussian",
    "within_3_sigma_pct": "3 sigma",
    "gaussian_3_sigma_pct": "Gaussian",
    "nees": "NEES",
    "nees_low": "at least",
    "nees_high": "at most",
    "beyond_level": "beyond level",
    "level_over_error": "level / error",
}


@dataclass(frozen=True)
class TrustSets:
    """What is asked: photos in visual layers, sweeps in lidar layers, drives in street layers; None: not measured.

    The extractor is that of photos' features, made when it is needed.
    """

    photos: PhotoSet | None = None
    sweeps: SweepSet | None = None
    streets: StreetSet | None = None
    extractor: Open | None = None


@dataclass(frozen=True)
class TrustRows:
    """What was measured: a row a map and kind, a row a map and part of the pose, and a row a query."""

    kinds: list[dict[str, Any]]
    sigma: list[dict[str, Any]]
    answers: list[dict[str, Any]]


def run_trust(
    maps: Sequence[Path], sets: TrustSets, folder: Path, *, command: str = "", stage: Stage = lambda name: _silent
) -> TrustRows:
    """Ask all that is given in all maps; the folder gets kinds, sigma and answers as JSON and CSV, plots and a page.

    Raises:
        ConfigError: a map has no layer for what is asked, or two maps have one name.
    """
    names = [path.stem for path in maps]
    if not maps or len(set(names)) < len(names):
        raise ConfigError(f"maps named {', '.join(names) or 'nothing'}", "give maps, each with a name of its own")
    answers = [one for path in maps for one in ask_all(path, sets, stage)]
    if not answers:
        raise ConfigError("no kind of query is left", "give photos, sweeps or drives, and kinds that there are")
    return write_trust(answers, folder, command)


def ask_all(path: Path, sets: TrustSets, stage: Stage) -> Iterator[Answer]:
    """Every kind that a file has a layer for.

    Raises:
        ConfigError: it has no layer for anything that is given.
    """
    with FoldFile.open(path) as file:
        held = {layer.kind for layer in file.layers()}
    asks: dict[str, Callable[[], Iterable[Answer]]] = {}
    if sets.photos is not None and sets.extractor is not None:
        photos, extractor = sets.photos, sets.extractor
        asks["visual"] = lambda: ask_photos(path, path.stem, photos, extractor, stage)
    if sets.sweeps is not None:
        sweeps = sets.sweeps
        asks["lidar"] = lambda: ask_sweeps(path, path.stem, sweeps, stage)
    if sets.streets is not None:
        streets = sets.streets
        asks["street"] = lambda: ask_streets(path, path.stem, streets, stage)
    wanted = [kind for kind in asks if kind in held]
    if not wanted:
        raise ConfigError(f"{path} holds {', '.join(sorted(held))}, and is asked nothing", "give what it localizes")
    for kind in wanted:
        yield from asks[kind]()


def sigma_rows(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Consistency of the `ok` answers to right queries as they are: of position and rotation, a map at a time."""
    groups: dict[tuple[str, str], list[Answer]] = {}
    for one in placed(answers):
        if one.kind in _AS_IS:
            groups.setdefault((one.map, one.layer), []).append(one)
    rows: list[dict[str, Any]] = []
    for (name, layer), some in groups.items():
        turns = 3 if some[0].axes == 3 else 1
        parts = (
            ("position", some[0].axes, "squared", "position", "level"),
            ("rotation", turns, "squared_turn", "rotation_rad", "level_rad"),
        )
        for of, axes, squared, error, level in parts:
            found = consistency(np.array([getattr(one, squared) for one in some]), axes).row()
            leveled = [one for one in some if math.isfinite(getattr(one, level))]
            if leveled:
                errors, levels = (np.array([getattr(one, key) for one in leveled]) for key in (error, level))
                found |= level_score(errors, levels).row()
            rows.append({"map": name, "layer": layer, "of": of, **found})
    return rows


def write_trust(answers: Sequence[Answer], folder: Path, command: str = "") -> TrustRows:
    """Write tables, plots and the page of answers."""
    found = TrustRows(kind_rows(answers), sigma_rows(answers), [one.row() for one in answers])
    page = ResultPage(folder, "foldmap trust benchmark", _lead(answers), command)
    for name, rows in (("kinds", found.kinds), ("sigma", found.sigma), ("answers", found.answers)):
        page.keep_rows(name, rows)
    for name in dict.fromkeys(row["map"] for row in found.kinds):
        mine = [row for row in found.kinds if row["map"] == name]
        page.heading(str(name)).table(mine, _COLUMNS, _CAPTION)
        page.keep_figure(f"{name}-kinds.svg", kinds_plot(mine), f"What {name} answered to each kind of query")
    if found.sigma:
        page.heading("Sigma and protection levels").table(found.sigma, _SIGMA, _SIGMA_CAPTION)
    curves = calibration_curves(answers)
    if curves:
        caption = "Share of the errors in the region that should hold so many; below the diagonal sigma is too small."
        page.keep_figure("calibration.svg", calibration_plot(curves, "Is sigma sigma?"), caption)
    page.write(folder / "index.html")
    return found


def calibration_curves(answers: Iterable[Answer]) -> dict[str, tuple[Any, Any]]:
    """Nominal and observed shares of position errors, a map and layer at a time."""
    groups: dict[str, list[Answer]] = {}
    for one in placed(answers):
        if one.kind in _AS_IS:
            groups.setdefault(f"{one.map}, {one.layer}", []).append(one)
    nominal = np.linspace(0.0, 1.0, 101)
    return {
        name: (nominal, observed_shares(np.array([one.squared for one in some]), some[0].axes, nominal))
        for name, some in groups.items()
        if len(some) >= _LEAST
    }


_CAPTION = (
    "Right queries must be answered as before; bounded ones may be refused, and where they are not the error must lie "
    "within the protection level (of maps without one within three sigma); refused ones have no right answer."
)
_SIGMA_CAPTION = (
    "Of ok answers to unchanged queries: shares of errors within 1, 2, 3 sigma beside those of a Gaussian of as many "
    "axes; NEES is 1 where sigma is right, and within the bounds in 95 % of such cases."
)


def _lead(answers: Sequence[Answer]) -> str:
    found = counted(hostile(answers))
    right = counted([one for one in answers if one.expect is Expect.RIGHT])
    return (
        f"{found['asked']} hostile queries: {found['ok_beyond']} answered ok beyond the bound that was stated, "
        f"{found['degraded']} degraded. {right['asked']} right ones: {right['ok_right']} ok and right."
    )


def _silent(done: int, total: int) -> None:
    """Tell nobody."""
