"""Measure every figure that a layer must reach, afresh: name, measured, target, met or short.

python -m benchmarks.scoreboard --layer lidar|visual|street|trust|journey|world|cases|house|all [--only ROW]
    [--data FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.context import Board, Row
from benchmarks.evidence.seen import Seen
from benchmarks.lines import Line, RowSkipped
from foldmap.errors import ConfigError, FoldmapError
from foldmap.runtime.allocator import keep_freed_memory
from foldmap.version import __version__

LAYERS = ("lidar", "visual", "street")
CASES, HOUSE, TRUST, JOURNEY, WORLD = "cases", "house", "trust", "journey", "world"
ROWS: dict[str, tuple[str, ...]] = {
    "lidar": (
        "hdl64:Street", "hdl64:AgainstClassical", "given_map:GivenMap", "roundabout:Roundabout", "refusing:Refusing",
        "coders:Coders", "stepping:Stepping", "folding:Folding", "folding:Demo", "folding:Overhead",
        "streets:paper_figures", "map_file:MapFile", "paper:table_rows",
    ),
    "visual": (
        "budgets:Unfolded", "budgets:budget_rows", "codes:FourBytes", "codes:Geometry", "speed:Speed",
        "speed:Selecting", "refusing:Refusing", "paper:paper_rows", "learned:learned_rows",
    ),
    "street": (
        "retrieving:Aerial", "retrieving:Ring", "finding:Finding", "changing:Changing", "coding:Coding",
        "encoding:Encoding", "million:Million", "paper:paper_rows",
    ),
    TRUST: (
        "photos:HostilePhotos", "photos:RightPhotos", "photos:ChangedPhotos", "photos:WrongFocal",
        "sweeps:HostileSweeps", "sweeps:RightSweeps", "drives:HostileDrives", "drives:RightDrives", "sigma:SigmaRow",
        "sigma:LevelRow", "cost:Cost", "street_photos:StreetPhotos",
    ),
    JOURNEY: (
        "rows:Starts", "rows:Cuts", "rows:Stranger", "photos:Photos", "recorded:Recorded", "everywhere:Everywhere",
        "large:Large",
    ),
    WORLD: (
        "service:Requests", "service:Clients", "service:Strangers", "cities:Cities", "cities:FineCities",
        "fast_photos:FastPhotos",
    ),
    CASES: ("lidar:row", "street:row", "visual:row", "outputs:Outputs", "fuzz:Fuzzed"),
    HOUSE: (
        "files:DemoFile", "files:LidarFile", "files:StreetFile", "tree:FrontDoor", "tree:Lines", "tree:Folders",
        "tree:Collecting", "tree:AllTests", "tree:Readme",
    ),
}  # fmt: skip
"""Of each layer, in the order of its table: module of its folder, and what makes a row or several there. A module is
imported when its rows are asked for, so that a run loads the code of its own row and no other's."""
ALL = "all"


def row_modules(layer: str) -> list[str]:
    """The modules of a layer's rows, dotted, in the order of its table."""
    return list(dict.fromkeys(f"benchmarks.{layer}.{one.partition(':')[0]}" for one in ROWS[layer]))


def rows_of(layer: str, module: str | None = None) -> list[Row]:
    """Rows of a layer, in the order of its table; of one module alone where it is named."""
    rows: list[Row] = []
    for one in ROWS[layer]:
        name, _, maker = one.partition(":")
        if module in (None, f"benchmarks.{layer}.{name}"):
            made = getattr(importlib.import_module(f"benchmarks.{layer}.{name}"), maker)()
            rows += made if isinstance(made, list) else [made]
    return rows


def chosen(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    """Rows by number or name; where none are named all but those that run only when they are.

    Raises:
        ConfigError: a name is no row's.
    """
    unknown = [name for name in only if not any(name in (str(row.number), row.name) for row in rows)]
    if unknown:
        known = ", ".join(f"{row.number} ({row.name})" for row in rows)
        raise ConfigError(f"there is no row {unknown[0]!r}", f"choose from {known}")
    if not only:
        return [row for row in rows if not getattr(row, "when_named", False)]
    return [row for row in rows if str(row.number) in only or row.name in only]


def measure_row(row: Row, board: Board) -> list[Line]:
    """Measure one row; one that cannot be measured gives one line that says why."""
    lines: list[Line] = []
    try:
        for line in row.lines(board):
            lines.append(line)
            print(line.text(), flush=True)
    except RowSkipped as skipped:
        lines.append(Line(row.number, row.title, None, note=str(skipped)))
        print(lines[-1].text(), flush=True)
    except FoldmapError as error:
        lines.append(Line(row.number, row.title, None, note=f"failed: {error.message}"))
        print(lines[-1].text(), flush=True)
    return lines


def run(rows: Sequence[Row], board: Board, layer: str = "lidar") -> dict[str, Any]:
    """Measure rows, printing as they come; the result is JSON values."""
    results = []
    for row in rows:
        print(f"{row.number:>2}  {row.title} ...", file=sys.stderr, flush=True)
        begin_s = time.perf_counter()
        lines = measure_row(row, board)
        results.append(
            {
                "row": row.number,
                "name": row.name,
                "title": row.title,
                "parameters": asdict(row),  # type: ignore[call-overload]
                "seconds": round(time.perf_counter() - begin_s, 1),
                "lines": [line.to_dict() for line in lines],
            }
        )
    return {
        "layer": layer,
        "foldmap": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": board.threads,
        "models": [model.name for model in board.models],
        "rows": results,
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    shared = Path(os.environ.get("FOLDMAP_SHARED", Path.cwd().parent / "shared"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoreboard", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--layer", default="lidar", help="lidar, visual, street, trust, journey, world, cases, house or all"
    )
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="number or name; repeat for more")
    parser.add_argument("--data", type=Path, help="folder of the recordings; ../shared/data/LAYER where left out")
    parser.add_argument("--model", type=Path, action="append", default=[], help="use it for maps of its resolution")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--module", help="rows of this module alone, as make evidence asks for them")
    parser.add_argument("--train-roundabout", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--train-steps", type=int, default=None, help="of adapting to the roundabout's sensors")
    parser.add_argument("--every", type=int, default=None, help="lidar: a query every so many sweeps of a street")
    parser.add_argument("--starts", type=int, default=None, help="journey, rows 1 and 6: so many drives")
    parser.add_argument("--side", type=float, default=None, metavar="M", help="journey, rows 1 to 3 and 6: of the town")
    parser.add_argument(
        "--gap", type=float, default=None, metavar="S", help="journey, row 2: of one sensor; 30 wants --side 360"
    )
    parser.add_argument("--all-codes", action="store_true", help="row 2: all kinds and sizes of simple codes")
    parser.add_argument("--json", action="store_true", help="print the JSON at the end")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("-o", "--output", type=Path, help="write the JSON here")
    parser.add_argument("--features", type=Path, help="visual, trust: keep features and scenes here")
    parser.add_argument("--minutes", type=float, default=None, help="world: generated requests for so long")
    parser.add_argument("--kept", type=Path, help="rows that take long keep what they have so far here, and go on")
    parser.add_argument("--seed", type=int, default=0, help="of rows that have one")
    parser.add_argument("--queries", type=int, default=None, help="visual, trust: at most so many queries")
    parser.add_argument(
        "--photo-map",
        action="append",
        default=[],
        metavar="[SCENE:]FEATURE:KB",
        help="trust: ask these maps of photos alone, like sift:60 or bonsai:xfeat:60",
    )
    models = os.environ.get("FOLDMAP_STREET_MODELS")
    parser.add_argument(
        "--street-models",
        type=Path,
        default=Path(models) if models else None,
        help="street: measure the trained models of this folder ($FOLDMAP_STREET_MODELS); else they are trained",
    )
    parser.add_argument(
        "--street-cache",
        type=Path,
        default=Path("out/board/street/models"),
        help="street: trained models are kept here",
    )
    parser.add_argument("--street-steps", type=int, default=None, help="street: train no longer than so many steps")
    given = parser.parse_args(argv)
    given.shared = shared
    return given


def adjusted(rows: Sequence[Row], given: argparse.Namespace) -> list[Row]:
    """Apply the options that change rows; what they change shows in the row's parameters."""
    return [replace(cast(Any, row), **_changed(row, given)) for row in rows]


def _changed(row: Any, given: argparse.Namespace) -> dict[str, Any]:
    """What the options change of a row's parameters."""
    changed: dict[str, Any] = {}
    if given.every is not None and hasattr(getattr(row, "asked", None), "every"):
        changed["asked"] = replace(row.asked, every=given.every)
    if given.every is not None and given.layer == "lidar" and hasattr(row, "every"):
        changed["every"] = given.every
    if given.layer == JOURNEY and row.name in ("starts", "cuts", "stranger", "everywhere"):
        changed |= {} if given.side is None else {"extent_m": given.side}
        changed |= {} if given.starts is None or not hasattr(row, "starts") else {"starts": given.starts}
    if given.gap is not None and hasattr(row, "longer"):
        changed |= row.longer(given.gap)
    if hasattr(row, "every_code"):
        changed["every_code"] = given.all_codes
    if given.minutes is not None and hasattr(row, "minutes"):
        changed["minutes"] = given.minutes
    if given.layer == "visual" and hasattr(row, "seed"):
        changed["seed"] = given.seed
    if hasattr(row, "adaptation"):
        steps = row.adaptation.steps if given.train_steps is None else given.train_steps
        changed |= {"adapt": given.train_roundabout, "adaptation": replace(row.adaptation, steps=steps)}
    return changed


def open_board(given: argparse.Namespace, models: Sequence[Any], layer: str) -> Board:
    """A layer's board."""
    recorded = {
        CASES: given.shared / CASES,
        HOUSE: given.shared / "data" / "lidar",
        JOURNEY: given.shared / "data" / "lidar",
        WORLD: given.shared / "data" / "visual",
    }
    data = given.data or recorded.get(layer, given.shared / "data" / layer)
    if layer == TRUST:
        from benchmarks.trust.board import TrustBoard

        maps = tuple(given.photo_map)
        return TrustBoard(given.shared, given.threads, given.quiet, given.features, given.queries, maps)
    if layer in ("visual", WORLD):
        from benchmarks.visual.data import VisualBoard

        return VisualBoard(data, given.threads, given.quiet, given.features, given.queries, given.kept)
    if layer == "street":
        from benchmarks.street.data import StreetBoard

        asked = {"tables": given.kept and given.kept / "street", "steps": given.street_steps}
        return StreetBoard(data, given.threads, given.quiet, given.street_models, given.street_cache, **asked)
    board = Board(data, models, given.threads, given.quiet)
    board.kept_folder = given.kept
    return board


def read_models(models: Sequence[Path], data: Path) -> list[Any]:
    """Read the models that are given.

    Raises:
        ConfigError: one was trained on a recording that rows ask about.
    """
    if not models:
        return []
    from foldmap.api.training.trained_places import drive_place, raster_place, refuse_trained_on
    from foldmap.formats.poses.trajectories import read_poses
    from foldmap.lidar.bundle import Bundle

    folders = [*data.glob("*"), *(data.parent / "joint").glob("*")]
    drives = [folder for folder in folders if (folder / "sweeps").is_dir() and (folder / "poses.txt").is_file()]
    asked = [drive_place(one.name, read_poses(one / "poses.txt").world_SE3_sensors) for one in drives]
    asked += [raster_place(path) for path in sorted(data.rglob("*.tif"))]
    for model in models:
        refuse_trained_on(model, asked)
    return [Bundle.from_bytes(path.read_bytes()) for path in models]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scoreboard; 0 where no figure is short and no row failed, 1 otherwise, 2 for bad arguments."""
    given = arguments(argv)
    seen = Seen()
    keep_freed_memory()
    try:
        layers = list(LAYERS) if given.layer == ALL else [given.layer]
        if layers[0] not in ROWS:
            known = " or ".join([*ROWS, ALL])
            raise ConfigError(f"there is no scoreboard of the layer {given.layer!r}", f"choose {known}")
        if given.layer == ALL and (given.only or given.data):
            raise ConfigError("rows or a data folder of all layers", "name one layer")
        if given.threads < 1:
            raise ConfigError(f"{given.threads} threads", "give 1 or more")
        if min(one for one in (given.starts, given.side, 1) if one is not None) <= 0:
            raise ConfigError("no starts, or a town without a side", "give 1 or more, and metres")
        if given.queries is not None and given.queries < 1:
            raise ConfigError(f"{given.queries} queries a scene", "give 1 or more")
        rows = {layer: adjusted(chosen(rows_of(layer, given.module), given.only), given) for layer in layers}
        models = read_models(given.model, given.data or given.shared / "data" / "lidar")
    except (FoldmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(given.threads)
    results = []
    for layer in layers:
        with closing(open_board(given, models, layer)) as board:
            results.append(run(rows[layer], board, layer))
    for result in results:
        result["code"] = seen.code()
    text = json.dumps(results[0] if len(results) == 1 else results, indent=2, default=str) + "\n"
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text, encoding="utf-8")
    if given.json:
        print(text, end="")
    lines = [line for result in results for row in result["rows"] for line in row["lines"]]
    bad = sum(line["verdict"] == "short" or line["verdict"].startswith("failed") for line in lines)
    met = sum(line["verdict"] == "met" for line in lines)
    skipped = sum(line["verdict"].startswith("skipped") for line in lines)
    print(f"{met} met, {bad} short or failed, {skipped} skipped", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
