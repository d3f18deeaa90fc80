"""Measure every figure that a layer must reach, afresh: name, measured, target, met or short.

python -m benchmarks.scoreboard --layer lidar|visual|street|trust|journey|world|cases|house|all [--only ROW]
    [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases.fuzz import Fuzzed
from benchmarks.cases.lidar import LIDAR
from benchmarks.cases.outputs import Outputs
from benchmarks.cases.rows import CasesRow
from benchmarks.cases.street import STREET
from benchmarks.cases.visual import VISUAL
from benchmarks.context import Board, Row
from benchmarks.house.files import DemoFile, LidarFile, StreetFile
from benchmarks.house.tree import AllTests, Collecting, Folders, FrontDoor, Lines, Readme
from benchmarks.journey.everywhere import Everywhere
from benchmarks.journey.large import Large
from benchmarks.journey.photos import Photos
from benchmarks.journey.recorded import Recorded
from benchmarks.journey.rows import Cuts, Starts, Stranger
from benchmarks.lidar.coders import Coders
from benchmarks.lidar.folding import Demo, Folding, Overhead
from benchmarks.lidar.given_map import GivenMap
from benchmarks.lidar.hdl64 import AgainstClassical, Street, StreetProtocol
from benchmarks.lidar.map_file import MapFile
from benchmarks.lidar.paper import LidarBoard, table_rows
from benchmarks.lidar.refusing import Refusing
from benchmarks.lidar.roundabout import Roundabout
from benchmarks.lidar.stepping import Stepping
from benchmarks.lidar.streets import PaperFigures
from benchmarks.lines import Line, RowSkipped
from benchmarks.street.changing import Changing
from benchmarks.street.coding import Coding
from benchmarks.street.data import StreetBoard
from benchmarks.street.encoding import Encoding
from benchmarks.street.finding import Finding
from benchmarks.street.million import Million
from benchmarks.street.paper import paper_rows as street_tables
from benchmarks.street.retrieving import Aerial, Ring
from benchmarks.trust.board import TrustBoard
from benchmarks.trust.cost import Cost
from benchmarks.trust.drives import HostileDrives, RightDrives
from benchmarks.trust.photos import ChangedPhotos, HostilePhotos, RightPhotos, WrongFocal
from benchmarks.trust.sigma import LevelRow, SigmaRow
from benchmarks.trust.sweeps import HostileSweeps, RightSweeps
from benchmarks.visual.budgets import Unfolded, budget_rows
from benchmarks.visual.codes import FourBytes, Geometry
from benchmarks.visual.data import VisualBoard
from benchmarks.visual.learned import learned_rows
from benchmarks.visual.paper import PaperTables, paper_rows
from benchmarks.visual.refusing import Refusing as RefusingPhotos
from benchmarks.visual.speed import Selecting, Speed
from benchmarks.world.cities import Cities, FineCities
from benchmarks.world.fast_photos import FastPhotos
from benchmarks.world.service import Clients, Requests, Strangers
from foldmap.api.training.trained_places import drive_place, raster_place, refuse_trained_on
from foldmap.errors import ConfigError, FoldmapError
from foldmap.formats.poses.trajectories import read_poses
from foldmap.lidar.bundle import Bundle
from foldmap.runtime.allocator import keep_freed_memory
from foldmap.version import __version__


def lidar_rows() -> list[Row]:
    """All rows, in the order of the issue's table."""
    return [
        Street(),
        AgainstClassical(),
        GivenMap(),
        Roundabout(),
        Refusing(),
        Coders(),
        Stepping(),
        Folding(),
        Demo(),
        Overhead(),
        PaperFigures(
            11, "drive0001", StreetProtocol("kitti-drive0001"), most_bit_m2=1.5, most_lateral_cm=5.0, learned=False
        ),
        PaperFigures(12, "paper", StreetProtocol()),
        MapFile(),
        *table_rows(),
    ]


def visual_rows() -> list[Row]:
    """All rows of the visual layer, in the order of its issue's table."""
    plain: list[Row] = [Unfolded(), *budget_rows(), FourBytes(), Geometry(), Speed(), Selecting(), RefusingPhotos()]
    return [*plain, *paper_rows(), *learned_rows()]


def street_rows() -> list[Row]:
    """All rows of the street layer, in the order of its issue's table."""
    return [Aerial(), Ring(), Finding(), Changing(), Coding(), Encoding(), Million(), *street_tables()]


def trust_rows() -> list[Row]:
    """All rows about what answers are worth, in the order of their issue's table."""
    return [
        HostilePhotos(), RightPhotos(), ChangedPhotos(), WrongFocal(), HostileSweeps(), RightSweeps(),
        HostileDrives(), RightDrives(), SigmaRow(), LevelRow(), Cost(),
    ]  # fmt: skip


def journey_rows() -> list[Row]:
    """From nothing to centimetres in a file of several layers."""
    return [Starts(), Cuts(), Stranger(), Photos(), Recorded(), Everywhere(), Large()]


def world_rows() -> list[Row]:
    """Served to clients, and as large as a city."""
    return [Requests(), Clients(), Strangers(), Cities(), FineCities(), FastPhotos()]


def case_rows() -> list[Row]:
    """Inputs that once went wrong, each with its right value."""
    return [
        CasesRow(1, "lidar", "cases of sweeps, poses and rasters", LIDAR),
        CasesRow(2, "street", "cases of street maps and camera rings", STREET),
        CasesRow(3, "visual", "cases of photos and scenes", VISUAL),
        Outputs(),
        Fuzzed(),
    ]


def house_rows() -> list[Row]:
    """Files, the front door and the tree; all tests run only when they are named."""
    return [
        DemoFile(), LidarFile(), StreetFile(), FrontDoor(), Lines(), Folders(), Collecting(), AllTests(), Readme(),
    ]  # fmt: skip


LAYERS: dict[str, Callable[[], list[Row]]] = {"lidar": lidar_rows, "visual": visual_rows, "street": street_rows}
CASES, HOUSE, TRUST, JOURNEY, WORLD = "cases", "house", "trust", "journey", "world"
ROWS: dict[str, Callable[[], list[Row]]] = {
    **LAYERS, TRUST: trust_rows, JOURNEY: journey_rows, WORLD: world_rows, CASES: case_rows, HOUSE: house_rows,
}  # fmt: skip
ALL = "all"


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
    parser.add_argument("--train-roundabout", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--train-steps", type=int, default=None, help="of adapting to the roundabout's sensors")
    parser.add_argument("--every", type=int, default=None, help="rows 1, 2, 5, 11, 12: a query every so many sweeps")
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
        metavar="FEATURE:KB",
        help="trust: ask these maps of photos alone, like sift:60",
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
    result: list[Row] = []
    for row in rows:
        if isinstance(row, Roundabout):
            steps = row.adaptation.steps if given.train_steps is None else given.train_steps
            row = replace(row, adapt=given.train_roundabout, adaptation=replace(row.adaptation, steps=steps))
        elif isinstance(row, Street | AgainstClassical | Refusing | Coders | Overhead | PaperFigures):
            every = row.asked.every if given.every is None else given.every
            row = replace(row, asked=replace(row.asked, every=every))
        elif isinstance(row, Starts | Cuts | Stranger | Everywhere):
            row = replace(row, extent_m=row.extent_m if given.side is None else given.side)
        if isinstance(row, Starts | Everywhere) and given.starts is not None:
            row = replace(row, starts=given.starts)
        if isinstance(row, Cuts) and given.gap is not None:
            row = row.longer(given.gap)
        if isinstance(row, AgainstClassical):
            row = replace(row, every_code=given.all_codes)
        if isinstance(row, Requests) and given.minutes is not None:
            row = replace(row, minutes=given.minutes)
        if isinstance(row, PaperTables):
            row = replace(row, seed=given.seed)
        result.append(row)
    return result


def open_board(given: argparse.Namespace, models: Sequence[Bundle], layer: str) -> Board:
    """A layer's board."""
    recorded = {
        CASES: given.shared / CASES,
        HOUSE: given.shared / "data" / "lidar",
        JOURNEY: given.shared / "data" / "lidar",
        WORLD: given.shared / "data" / "visual",
    }
    data = given.data or recorded.get(layer, given.shared / "data" / layer)
    if layer == TRUST:
        maps = tuple(given.photo_map)
        return TrustBoard(given.shared, given.threads, given.quiet, given.features, given.queries, maps)
    if layer in ("visual", WORLD):
        return VisualBoard(data, given.threads, given.quiet, given.features, given.queries, given.kept)
    if layer == "street":
        asked = {"tables": given.kept and given.kept / "street", "steps": given.street_steps}
        return StreetBoard(data, given.threads, given.quiet, given.street_models, given.street_cache, **asked)
    board = LidarBoard(data, models, given.threads, given.quiet)
    board.kept = given.kept
    return board


def refuse_recorded(models: Sequence[Path], data: Path) -> None:
    """Raise a ConfigError where a given model was trained on a recording that rows ask about."""
    if not models:
        return
    folders = [*data.glob("*"), *(data.parent / "joint").glob("*")]
    drives = [folder for folder in folders if (folder / "sweeps").is_dir() and (folder / "poses.txt").is_file()]
    asked = [drive_place(one.name, read_poses(one / "poses.txt").world_SE3_sensors) for one in drives]
    asked += [raster_place(path) for path in sorted(data.rglob("*.tif"))]
    for model in models:
        refuse_trained_on(model, asked)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scoreboard; 0 where no figure is short and no row failed, 1 otherwise, 2 for bad arguments."""
    given = arguments(argv)
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
        rows = {layer: adjusted(chosen(ROWS[layer](), given.only), given) for layer in layers}
        models = [Bundle.from_bytes(path.read_bytes()) for path in given.model]
        refuse_recorded(given.model, given.data or given.shared / "data" / "lidar")
    except (FoldmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(given.threads)
    results = []
    for layer in layers:
        with closing(open_board(given, models, layer)) as board:
            results.append(run(rows[layer], board, layer))
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
