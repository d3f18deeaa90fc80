"""``foldmap train street``: a model of one's own, from images whose street map is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, make_folder, put, save_settings, write_bytes
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.cli.train.street_sources import Brought
    from foldmap.street.field.model import FieldEmbedding

EXAMPLES = (
    "\b\nExamples:\n  foldmap train street tiles/ -o out/street --hold-out tile_3 --hold-out tile_9\n"
    "  foldmap train street ortho.tif --map city.osm -o out/street --preset tiny\n"
    "  foldmap train street tiles/ -o out/ring --ring ring.json --start out/street/model.safetensors\n"
    "  foldmap train street pairs/ -o out/own\n  foldmap train street --town -o out/town\n"
    "  foldmap train street tiles/ -o out/update --update --start out/street/model.safetensors\n"
    "  foldmap train street tiles/ -o out/paper --model paper --preset small"
)
PRESETS = ("tiny", "small", "paper")
Begin = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class StreetRun:
    """What a person decides about a run; see the options of ``foldmap train street``."""

    town: bool = False
    map: Path | None = None
    preset: str = "small"
    model: str = "field"
    ring: Path | None = None
    cameras: tuple[str, ...] = ()
    update: bool = False
    start: Path | None = None
    hold_out: tuple[str, ...] = ()
    steps: int | None = None
    batch: int | None = None
    seed: int = 0
    random_start: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"there is no street preset {self.preset!r}", f"choose one of {', '.join(PRESETS)}")
        if self.model not in ("field", "paper"):
            raise ConfigError(f"there is no kind of model {self.model!r}", "choose field or paper")
        if self.update and self.model == "paper":
            raise ConfigError("the paper's model compares with no map", "leave --update out, or choose --model field")
        if self.cameras and self.ring is None:
            raise ConfigError("cameras belong to a ring", "give --ring, or leave --camera out")


def street(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; an interrupted one resumes.")],
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="Labelled ortho tiles (folder or .npz), a GeoTIFF with --map, or a folder of pairs.",
        ),
    ] = None,
    town: Annotated[bool, typer.Option("--town", help="Train on generated towns instead.")] = False,
    street_map: Annotated[Path | None, typer.Option("--map", help="Street map of the GeoTIFF.")] = None,
    preset: Annotated[str, typer.Option(help="tiny, small (under an hour on two cores) or paper.")] = "small",
    model: Annotated[str, typer.Option(help="field (accurate) or paper (the paper's networks).")] = "field",
    ring: Annotated[
        Path | None,
        typer.Option(help="See the tiles as these cameras would (semi-synthetic): ring.json, or Argoverse 2's folder."),
    ] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Use this camera alone; repeat for more.")] = None,
    update: Annotated[bool, typer.Option("--update", help="A model that compares images with a map.")] = False,
    start: Annotated[Path | None, typer.Option(help="Begin with this model.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="Name of a map not to learn from; repeat for more.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of training; the preset's where left out.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows a step; the preset's where left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    random_start: Annotated[bool, typer.Option("--random-start", help="Do not begin with ImageNet weights.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train a street model, and write OUTPUT/model.safetensors, ready for foldmap fold --model.

    OUTPUT also gets the log (log.jsonl, a line a step) and the settings. Frames of a ring are drawn from ortho tiles on
    flat ground: call what they train and measure semi-synthetic.
    """
    run = StreetRun(
        town, street_map, preset, model, ring, tuple(camera or ()), update, start, tuple(hold_out or ()), steps, batch,
        seed, random_start,
    )  # fmt: skip
    with bars() as begin:
        summary = train_street(list(data or []), output, run, begin)
    put(summary, as_json)


def train_street(
    data: Sequence[Path], folder: Path, run: StreetRun, begin: Begin = lambda doing: lambda done, total: None
) -> dict[str, Any]:
    """Train and write the model; the command without its printing.

    Args:
        data: see `foldmap.cli.train.street_sources.bring`.
        folder: of the run; a checkpoint of the same settings is resumed.
        run: the settings.
        begin: makes a callback for a kind of work.

    Returns:
        The summary that the command prints.

    Raises:
        FoldmapError: what was brought cannot be used, or the folder holds another run.
    """
    from foldmap.cli.train.street_sources import bring

    brought = bring(data, run)
    make_folder(folder)
    save_settings(folder / "train", "train street", {"data": list(data), **asdict(run), "places": brought.places})
    shown = (_paper if run.model == "paper" else _field)(brought, folder, run, begin)
    path = folder / "model.safetensors"
    return {
        "model": str(path),
        "kind": run.model,
        "model_bytes": path.stat().st_size,
        "learned_from": brought.places,
        "held_out": list(run.hold_out),
        "semi_synthetic": run.ring is not None and not brought.pairs,
        **shown,
    }


def _put_model(folder: Path, payload: bytes) -> None:
    write_bytes(folder / "model.safetensors", payload)


def _field(brought: Brought, folder: Path, run: StreetRun, begin: Begin) -> dict[str, Any]:
    from foldmap.cli.train.street_sources import field_examples, held_out_recall
    from foldmap.street.field.draw import FieldSpec
    from foldmap.street.field.model import FieldEmbedding
    from foldmap.street.field.network import FieldShape
    from foldmap.street.field.train import PRESETS as SETTINGS
    from foldmap.street.field.train import train_field

    settings = replace(SETTINGS[run.preset], seed=run.seed, imagenet=not run.random_start)
    settings = replace(settings, **_numbers(run))
    start = None if run.start is None else _started(run.start)
    field = FieldSpec() if start is None else start.field
    shape = replace(FieldShape() if start is None else start.network.shape, with_map=run.update)
    examples = field_examples(brought, field, run, begin)
    report = begin("Training")
    last = math.nan
    trained: FieldEmbedding | None = None
    for network, progress in train_field(
        examples,
        shape,
        settings,
        folder,
        start=None if start is None else start.network,
        report=lambda progress: report(progress.step, settings.steps),
    ):
        trained, last = FieldEmbedding(network, field), progress.loss
        _put_model(folder, trained.payload())
    assert trained is not None
    shown: dict[str, Any] = {"steps": settings.steps, "windows": len(examples), "loss": round(last, 6)}
    if brought.held_out and not run.update:
        shown |= held_out_recall(trained, brought, run, begin("Measuring"))
    return shown


def _started(path: Path) -> FieldEmbedding:
    from foldmap.api.street_layers import read_street_model
    from foldmap.street.field.model import FieldEmbedding

    model = read_street_model(path)
    if not isinstance(model, FieldEmbedding):
        raise ConfigError(f"{path} is a model {model.name}", "begin with a field model, or choose --model paper")
    return model


def _numbers(run: StreetRun) -> dict[str, Any]:
    said = {"steps": run.steps, "batch": run.batch}
    found: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if run.steps is not None and run.model == "field":
        found["warmup_steps"] = min(100, max(1, run.steps // 5))
    return found


def _paper(brought: Brought, folder: Path, run: StreetRun, begin: Begin) -> dict[str, Any]:
    from foldmap.api.street_layers import read_street_model
    from foldmap.cli.train.street_sources import prepared_pairs
    from foldmap.street.paper.encoders.shape import shape_named
    from foldmap.street.paper.model import PaperEmbedding
    from foldmap.street.paper.serialize import from_bytes
    from foldmap.street.paper.train import TrainSettings, train

    shape = shape_named(run.preset)
    every = {"tiny": TrainSettings(steps=100, batch=16, validate_every=50, warmup_steps=20)}
    settings = every.get(run.preset, TrainSettings(steps=20_000 if run.preset == "paper" else 2000))
    settings = replace(settings, seed=run.seed, imagenet=not run.random_start, **_numbers(run))
    start = None
    if run.start is not None:
        begun = read_street_model(run.start)
        if not isinstance(begun, PaperEmbedding):
            raise ConfigError(f"{run.start} is a model {begun.name}", "begin with one of --model paper")
        start = from_bytes(begun.payload())
    learn, held_out = prepared_pairs(brought, shape, run, begin)
    report, last = begin("Training"), None
    for network, progress in train(
        learn, held_out, settings, folder, start=start, report=lambda one: report(one.step, settings.steps)
    ):
        _put_model(folder, PaperEmbedding(network).payload())
        last = progress
    assert last is not None
    shown: dict[str, Any] = {"steps": settings.steps, "pairs": len(learn), "loss": round(last.loss, 5)}
    if last.held_out_recall1 is not None:
        shown |= {"held_out_recall_at_1": last.held_out_recall1, "held_out_median_rank": last.held_out_median_rank}
    return shown
