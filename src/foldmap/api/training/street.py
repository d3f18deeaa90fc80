"""Train a street model: the accurate one, or the paper's networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from foldmap.api.results import Begin, silent
from foldmap.api.training.runs import MODEL, run_to_end
from foldmap.api.training.street_data import (
    StreetData,
    StreetRun,
    field_examples,
    held_out_least_change,
    held_out_recall,
    prepared_pairs,
)
from foldmap.api.training.trained_places import known_places
from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError
from foldmap.street.defaults import weights_folder
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.shape import FieldShape
from foldmap.street.field.train import PRESETS, FieldTrainer
from foldmap.street.model import read_street_model
from foldmap.street.paper.encoders.shape import shape_named
from foldmap.street.paper.model import PaperEmbedding, from_bytes
from foldmap.street.paper.train import PaperTrainer, PaperTrainSettings
from foldmap.training.places import recorded

Model = TypeVar("Model", FieldEmbedding, PaperEmbedding)


def train_street(data: StreetData, folder: Path, run: StreetRun, begin: Begin = silent) -> dict[str, Any]:
    """Train in a folder that is there, or go on there; write the model, and sum up the run."""
    shown = (_paper if run.model == "paper" else _field)(data, folder, run, begin)
    return {
        "model": str(folder / MODEL),
        "kind": run.model,
        "model_bytes": (folder / MODEL).stat().st_size,
        "learned_from": data.places,
        "held_out": list(run.hold_out),
        "semi_synthetic": run.ring is not None and not data.pairs,
        **shown,
    }


def _field(data: StreetData, folder: Path, run: StreetRun, begin: Begin) -> dict[str, Any]:
    settings = replace(PRESETS[run.preset], seed=run.seed, imagenet=not run.random_start)
    if run.steps is not None:
        settings = replace(settings, warmup_steps=min(100, max(1, run.steps // 5)))
    settings = replace(settings, **_asked(run))
    start = _begun(run, FieldEmbedding, "begin with a field model, or --model paper")
    field = FieldSpec() if start is None else start.field
    shape = replace(FieldShape() if start is None else start.network.shape, with_map=run.update)
    examples = field_examples(data, field, run, begin)
    trainer = FieldTrainer(examples, shape, settings, None if start is None else start.network)

    places = [*known_places(run.start, weights_folder()), *data.trained_places()]

    def model() -> FieldEmbedding:
        return FieldEmbedding(trainer.network, field)

    last = run_to_end(
        trainer, folder, begin, {"loss": "loss [nat a cell]"}, lambda: recorded(model().payload(), places)
    )
    shown: dict[str, Any] = {"steps": settings.steps, "windows": len(examples), "loss": round(last.loss, 6)}
    if data.held_out and not run.update:
        shown |= held_out_recall(model(), data, begin("Measuring"))
    elif data.held_out:
        least, driven_km = held_out_least_change(model(), data, begin("Driving past unchanged lanes"))
        write_whole(folder / MODEL, recorded(replace(model(), least_change=least).payload(), places))
        shown |= {"unchanged_km": round(driven_km, 3), "min_confidence": least}
    return shown


def _begun(run: StreetRun, kind: type[Model], cure: str) -> Model | None:
    """The model to begin with, of the kind that is trained."""
    begun = None if run.start is None else read_street_model(run.start)
    if begun is not None and not isinstance(begun, kind):
        raise ConfigError(f"{run.start} is a model {begun.name}", cure)
    return begun


def _asked(run: StreetRun) -> dict[str, Any]:
    return {key: value for key, value in (("steps", run.steps), ("batch", run.batch)) if value is not None}


def _paper(data: StreetData, folder: Path, run: StreetRun, begin: Begin) -> dict[str, Any]:
    shape = shape_named(run.preset)
    every = {
        "tiny": PaperTrainSettings(steps=100, batch=16, validate_every=50, warmup_steps=20),
        "small": PaperTrainSettings(),
        "paper": PaperTrainSettings(steps=20_000),
    }
    settings = replace(every[run.preset], seed=run.seed, imagenet=not run.random_start)
    settings = replace(settings, **_asked(run))
    begun = _begun(run, PaperEmbedding, "begin with one of --model paper")
    start = None if begun is None else from_bytes(begun.payload())
    learn, held_out = prepared_pairs(data, shape, run, begin)
    trainer = PaperTrainer(learn, held_out, settings, start)
    places = [*known_places(run.start), *data.trained_places()]
    shown = {"loss": "loss", "held_out_recall1": "held-out recall at 1"}
    last = run_to_end(
        trainer, folder, begin, shown, lambda: recorded(PaperEmbedding(trainer.network).payload(), places)
    )
    summary: dict[str, Any] = {"steps": settings.steps, "pairs": len(learn), "loss": round(last.loss, 5)}
    if last.held_out_recall1 is not None:
        summary |= {"held_out_recall_at_1": last.held_out_recall1, "held_out_median_rank": last.held_out_median_rank}
    return summary
