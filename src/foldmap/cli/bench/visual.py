"""``foldmap bench visual``: the tables of the paper, on anybody's structure-from-motion scenes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldmap.cli.common import make_folder
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.bench.visual.protocol import HeldOut
    from foldmap.metrics.camera_pose import Threshold
    from foldmap.visual.source import SceneModel

EXAMPLES = (
    "\b\nExamples:\n  foldmap bench visual scene/ -o out/bench --photos scene/images --quick\n"
    "  foldmap bench visual kitchen/ office/ -o out/bench --metric --tables 1,2,4,scenes\n"
    "  foldmap bench visual scene/ -o out/bench --methods foldmap --methods simple --budgets 100kB,50kB\n"
    "  foldmap bench visual model/ --features feats.h5 --queries list.txt --poses truth.txt "
    "--thresholds 25/2,50/5,500/10 -o out/aachen"
)


_scene = partial(typer.Option, rich_help_panel="Scenes")
_query = partial(typer.Option, rich_help_panel="Queries")
_method = partial(typer.Option, rich_help_panel="Methods")


def visual(
    context: typer.Context,
    scenes: Annotated[list[Path], typer.Argument(help="Scenes: COLMAP models with features beside them, or kapture.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, plots and the page.")],
    tables: Annotated[
        str, typer.Option(help="1, 2, 3, 4, s1, s2, select, scenes, by commas; all where left out.")
    ] = "",
    methods: Annotated[
        list[str] | None, typer.Option(help="Keep maps whose name starts so; repeat for more. All where left out.")
    ] = None,
    budgets: Annotated[str, typer.Option(help="Like 300kB,60kB.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A dozen queries, 60 steps of training, two budgets.")] = False,
    features: Annotated[
        list[Path] | None, _scene(help="Features of each scene, where they do not lie beside it; repeat.")
    ] = None,
    photos: Annotated[
        list[Path] | None, _scene(help="Photos of each scene, for pictures of correspondences; repeat.")
    ] = None,
    metric: Annotated[bool | None, _scene("--metric/--not-metric", help="Whether the models are in metres.")] = None,
    queries: Annotated[
        Path | None, _query(help="Names of the queries, one a line; blocks of each scene's images where left out.")
    ] = None,
    poses: Annotated[Path | None, _query(help="True poses of queries that the model does not hold.")] = None,
    thresholds: Annotated[
        str, _query(help="Like 0.5/0.5,2/2: cm in metric scenes (percent with --unit radius) and degrees.")
    ] = "",
    unit: Annotated[
        str | None, _query(help="world or radius; radius where the scene is not metric and this is left out.")
    ] = None,
    epochs: Annotated[
        int | None, _method(help="Of training D-PQED layers; where left out 30, or what makes 1,000 steps.")
    ] = None,
    decoder: Annotated[
        Path | None, _method(help="A dpqed layer of foldmap train visual, adapted to each scene in table scenes.")
    ] = None,
    weights: Annotated[Path | None, _method(help="Of a learned matcher, for table s2.")] = None,
    seed: Annotated[int, _method(help="Of every random choice.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Fold scenes in the paper's ways and foldmap's, localize held-out images; write JSON, CSV, plots and a page.

    Queries are the blocks of images, sorted by name, at 20-28, 50-58 and 80-88 percent, or those of --queries; what
    they observed leaves the map first. Answers and trained layers are kept in the output and taken up by a later run.
    """
    from foldmap.api.training.trained_places import refuse_trained_on, scene_place
    from foldmap.bench.visual.benchmark import BUDGETS, BenchScene, VisualBenchSettings, run_visual
    from foldmap.bench.visual.protocol import DEFAULT_THRESHOLDS
    from foldmap.cli.bench import inputs

    settings = VisualBenchSettings(
        tables=inputs.listed(tables),
        methods=tuple(methods or ()),
        budgets=_budgets(budgets) or BUDGETS,
        thresholds=_thresholds(thresholds) or DEFAULT_THRESHOLDS,
        epochs=epochs,
        weights=weights,
        decoder=decoder,
        quick=quick,
        seed=seed,
    )
    feature_files = _each(features, len(scenes), "--features")
    photo_folders = _each(photos, len(scenes), "--photos")
    make_folder(output)
    with inputs.stages() as stage:
        measured: list[BenchScene] = []
        for path, file, folder in zip(scenes, feature_files, photo_folders, strict=True):
            stage(f"Reading {path}")
            name = _name(path, [scene.held_out.name for scene in measured])
            held_out = _held_out(path, name, file, queries, poses, unit, metric)
            if decoder is not None:
                asked = [query.name for query in held_out.queries]
                refuse_trained_on(decoder, [scene_place(name, asked, held_out.truth)])
            measured.append(BenchScene(held_out, folder))
        rows = run_visual(measured, output, settings, command=inputs.typed(context), stage=stage)
    keys = ("table", "method", "file_bytes", *(f"{plain}within_{k}_pct" for plain in ("", "plain_") for k in (1, 2)))
    shown = [{"table": name, **row} for name, table in rows.items() if name != "scenes" for row in table]
    inputs.print_rows(rows, shown, keys, output / "index.html", as_json)


def _held_out(
    path: Path,
    name: str,
    features: Path | None,
    queries: Path | None,
    poses: Path | None,
    unit: str | None,
    metric: bool | None,
) -> HeldOut:
    """Read a scene and take its queries out."""
    from contextlib import closing

    from foldmap.bench.visual.protocol import hold_out
    from foldmap.formats.hloc.lists import read_query_list
    from foldmap.formats.kapture.features import KaptureFeatures
    from foldmap.formats.poses.photos import read_image_poses
    from foldmap.formats.scenes import find_features, open_features, read_scene

    scene: SceneModel = read_scene(path, features, metric=metric)
    listed = read_query_list(queries) if queries is not None else None
    names = None if listed is None else [image.name for image in listed]
    cameras = {image.name: image.camera for image in listed or [] if image.camera is not None}
    known = (
        read_image_poses(poses, names, cameras=False).camera_SE3_world
        if poses is not None and names is not None
        else {}
    )
    if (path / "sensors").is_dir():
        return hold_out(scene, KaptureFeatures(path), name=name, names=names, cameras=cameras, poses=known, unit=unit)
    found = features or find_features(path)
    if found is None:
        raise ConfigError(f"no features lie beside the model in {path}", "give --features")
    with closing(open_features(found, scene.feature)) as source:
        return hold_out(scene, source, name=name, names=names, cameras=cameras, poses=known, unit=unit)


def _name(path: Path, taken: list[str]) -> str:
    """The scene's folder's name, with a number where another scene has it."""
    base = path.resolve().name or "scene"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name


def _each(given: list[Path] | None, count: int, option: str) -> list[Path | None]:
    if not given:
        return [None] * count
    if len(given) != count:
        raise ConfigError(f"{len(given)} times {option} for {count} scenes", "give one a scene, in their order")
    return list(given)


def _budgets(text: str) -> tuple[int, ...]:
    from foldmap.api.folding.one_file import parse_size

    return tuple(parse_size(word) for word in text.split(",") if word)


def _thresholds(text: str) -> tuple[Threshold, ...]:
    try:
        pairs = [tuple(float(number) for number in word.split("/")) for word in text.split(",") if word]
    except ValueError as error:
        raise ConfigError(f"thresholds {text!r} are no numbers", "write 0.5/0.5,2/2") from error
    if any(len(pair) != 2 for pair in pairs):
        raise ConfigError(f"thresholds {text!r} are no pairs", "write distance/degrees, like 0.5/0.5,2/2")
    return tuple((pair[0], pair[1]) for pair in pairs)
