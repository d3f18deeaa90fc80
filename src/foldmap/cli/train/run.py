"""One training run from pairs to a model file, with its curve."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import bar, make_folder, save_settings, say, write_bytes, write_text
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.cli.train.sources import Source
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.model import LidarModel
    from foldmap.lidar.train import Progress, TrainSettings


STARTED_CODE_WEIGHT = 0.15


@dataclass(frozen=True)
class RunSettings:
    """What a person decides about a run; see the options of ``foldmap train lidar``."""

    preset: str
    mode: str
    rate_bit_m2: float
    steps: int
    matcher_steps: int
    batch: int
    seed: int
    start: Path | None
    device: str
    name: str
    smoke: bool

    def check(self) -> None:
        """Refuse what cannot be trained, before pairs are made.

        Raises:
            ConfigError: no such preset, mode or device, or numbers out of range.
        """
        from foldmap.lidar.presets import preset_named

        preset_named(self.preset)
        self.training()
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"there is no device {self.device!r}", "choose auto, cpu or cuda")

    def training(self) -> TrainSettings:
        """The settings of the training loop."""
        from foldmap.lidar.train import TrainSettings

        settings = TrainSettings(
            mode=self.mode,
            matcher_steps=self.matcher_steps,
            codec_steps=self.steps,
            batch=self.batch,
            rate_bit_m2=self.rate_bit_m2,
            seed=self.seed,
        )
        if self.start is not None:  # the codec works already: no warm-up, and the rate is weighed from the first step
            settings = replace(settings, warmup=0.0, code_weight=STARTED_CODE_WEIGHT)
        return replace(settings, radius_px=8, headings=2, validate_every=8) if self.smoke else settings


def chosen_device(device: str) -> str:
    """``auto`` is a GPU where there is one.

    Raises:
        ConfigError: a GPU was asked for and is not there.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no GPU that can be used", "choose --device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def train_lidar(folder: Path, source: Source, run: RunSettings) -> dict[str, Any]:
    """Train, finish and write the model.

    Args:
        folder: of the run; a checkpoint of the same settings is resumed.
        source: the pairs.
        run: the settings.

    Returns:
        The summary that the command prints.

    Raises:
        ConfigError: the folder holds a run with other settings.
    """
    from foldmap.lidar.bundle import read_bundle
    from foldmap.lidar.pairs.sampling import PairSampler
    from foldmap.lidar.presets import preset_named
    from foldmap.lidar.train import train

    make_folder(folder)
    preset, settings = preset_named(run.preset), run.training()
    save_settings(
        folder / "train", "train lidar", {**asdict(run), "source": source.name, "pairs": len(source.training)}
    )
    sizes = (source.resolution_m, source.sweep_px, source.map_px)
    sampler = PairSampler(source.training, *sizes, run.seed)
    validation = PairSampler(source.validation, *sizes, run.seed + 1)
    start = read_bundle(run.start).model if run.start is not None else None
    if start is not None and start.preset.to_dict() != preset.to_dict():
        raise ConfigError(f"{run.start} has the preset {start.preset.name}", f"give --preset {start.preset.name}")
    curve = Curve(folder)
    with bar("Training") as report:
        for line in train(
            preset,
            sampler,
            validation,
            settings,
            source.resolution_m,
            folder,
            start=start,
            device=chosen_device(run.device),
            report=lambda progress: report(progress.step, settings.steps),
        ):
            curve.add(line)
    bundle = finished(trained_model(folder, run.preset), source, run)
    write_bytes(folder / "model.safetensors", bundle.to_bytes())
    return {
        "model": str(folder / "model.safetensors"),
        "name": bundle.name,
        "model_bytes": (folder / "model.safetensors").stat().st_size,
        "rate_bit_m2": bundle.rate_bit_m2,
        "calibrated": bool(bundle.thresholds),
        **{f"validation_{key}": value for key, value in curve.last.items()},
    }


def trained_model(folder: Path, preset_name: str) -> LidarModel:
    """Read the networks out of a run's checkpoint.

    Raises:
        ModelError: it cannot be read.
    """
    import torch

    from foldmap.errors import ModelError
    from foldmap.lidar.checkpoint import FILE
    from foldmap.lidar.model import LidarModel
    from foldmap.lidar.presets import preset_named

    model = LidarModel(preset_named(preset_name))
    try:
        model.load_state_dict(torch.load(folder / FILE, weights_only=True, map_location="cpu")["model"])
    except Exception as error:
        raise ModelError(f"the checkpoint in {folder} cannot be read: {error}", "remove it and train anew") from error
    return model.eval()


def finished(model: LidarModel, source: Source, run: RunSettings) -> Bundle:
    """Fit the coder, measure the rate and calibrate; default thresholds where there is too little to calibrate on."""
    from foldmap.bench.lidar.finish import finish
    from foldmap.cli.train.draft import drafted

    name = run.name or f"{run.preset}-{run.rate_bit_m2:g}"
    provenance = {"source": source.name, **{k: str(v) if isinstance(v, Path) else v for k, v in asdict(run).items()}}
    most = 400
    every = [source.training[i] for i in range(min(len(source.training), most))]
    if run.smoke:
        return drafted(model, every, source.resolution_m, name, provenance)
    with bar("Finishing") as report:
        try:
            done = finish(
                model,
                every,
                source.resolution_m,
                name,
                provenance,
                seed=run.seed,
                report=lambda _, n, of: report(n, of),
            )
        except ConfigError as error:
            say(f"the localizer's thresholds stay at their defaults: {error}")
            return drafted(model, every, source.resolution_m, name, provenance)
    return done.bundle


class Curve:
    """The validation curve, as CSV and PNG; a resumed run goes on where it stopped."""

    def __init__(self, folder: Path) -> None:
        self._csv, self._png = folder / "curve.csv", folder / "curve.png"
        self._rows: list[dict[str, float]] = []
        if self._csv.is_file():
            with self._csv.open(newline="", encoding="utf-8") as file:
                self._rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]

    @property
    def last(self) -> dict[str, float]:
        """The last row; empty before the first."""
        return self._rows[-1] if self._rows else {}

    def add(self, line: Progress) -> None:
        """Add a validation and write both files."""
        row = {key: float(value) for key, value in asdict(line).items()}
        self._rows = [kept for kept in self._rows if kept["step"] < row["step"]] + [row]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._csv, text.getvalue())
        write_bytes(self._png, self._picture())

    def _picture(self) -> bytes:
        from foldmap.report.style import new_figure, styled, to_png

        steps = [row["step"] for row in self._rows]
        shown = (("match", "matching loss [nat]"), ("top9", "top-9 px"), ("rate_bit_m2", "rate [bit/m²]"))
        with styled():
            figure = new_figure(9.0, 2.8)
            for axes, (key, label) in zip(figure.subplots(1, len(shown)), shown, strict=True):
                axes.plot(steps, [row[key] for row in self._rows], marker="o", markersize=3)
                axes.set(xlabel="step", ylabel=label)
            return to_png(figure)
