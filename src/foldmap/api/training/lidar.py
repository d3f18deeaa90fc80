"""Train a lidar model: from pairs to a model file with coder, rate and calibrated localizer."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from foldmap.api.results import Begin, silent
from foldmap.api.training.lidar_pairs import LidarPairs
from foldmap.api.training.runs import MODEL, run_to_end
from foldmap.api.training.trained_places import known_places
from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import read_bundle
from foldmap.lidar.fit_coder import fit_coder
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import PairSampler, SomePairs
from foldmap.lidar.presets import preset_named
from foldmap.lidar.shipped import weights_folder
from foldmap.lidar.train import PAPER_OBJECTIVE, LidarTrainer, LidarTrainSettings
from foldmap.localize.lidar.calibrate import calibrate_model
from foldmap.training.places import recorded

_STARTED_CODE_WEIGHT = 0.15
_PAPER_CODE_WEIGHT = 0.05
_MOST_PAIRS = 400
"""That coder and thresholds are fitted on."""
_SHOWN = {"match": "matching loss [nat]", "top9": "top-9 px", "coded_bit_m2": "coded rate [bit/m²]"}


@dataclass(frozen=True)
class LidarRun:
    """What a person decides about a run.

    Attributes:
        preset: sizes of the networks.
        mode: "match", "scratch" or "recon", see `foldmap.lidar.train`.
        rate_bit_m2: zero-order code entropy aimed at, per m2 of observed cells.
        steps: with the codec.
        matcher_steps: of the matcher, before.
        batch: pairs a step.
        seed: of everything random.
        start: model file to begin with; of one with another codec, what fits of it.
        device: "auto", "cpu" or "cuda".
        name: of the model; PRESET-RATE where empty.
        smoke: a short run on small crops that shows that all parts fit together.
        paper_objective: train eq. 7 of the paper alone, without what we add to it.
        code_weight: lambda_1 per bit/m2: fixed under the paper's objective, else to begin with; None leaves it to us.
    """

    preset: str = "small-16x"
    mode: str = "match"
    rate_bit_m2: float = 2.2
    steps: int = 3000
    matcher_steps: int = 600
    batch: int = 8
    seed: int = 0
    start: Path | None = None
    device: str = "auto"
    name: str = ""
    smoke: bool = False
    paper_objective: bool = False
    code_weight: float | None = None

    def __post_init__(self) -> None:
        preset_named(self.preset)
        self.settings()
        if self.paper_objective and self.mode == "recon":
            raise ConfigError("the paper's objective has no reconstruction in it", "choose --mode match or scratch")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"there is no device {self.device!r}", "choose auto, cpu or cuda")

    def settings(self, *, with_codec: bool = False) -> LidarTrainSettings:
        """Of the training loop; ``with_codec`` where the model to begin with brings one that works."""
        steps: dict[str, Any] = {"matcher_steps": self.matcher_steps, "codec_steps": self.steps, "batch": self.batch}
        settings = LidarTrainSettings(mode=self.mode, rate_bit_m2=self.rate_bit_m2, seed=self.seed, **steps)
        if with_codec:  # no warm-up, and the rate is weighed from the first step
            settings = replace(settings, warmup=0.0, code_weight=_STARTED_CODE_WEIGHT)
        if self.paper_objective:
            objective: dict[str, Any] = PAPER_OBJECTIVE
            settings = replace(settings, code_weight=_PAPER_CODE_WEIGHT, **objective)
        if self.code_weight is not None:
            settings = replace(settings, code_weight=self.code_weight)
        return replace(settings, radius_px=8, headings=2, validate_every=8) if self.smoke else settings


def train_lidar(
    pairs: LidarPairs,
    folder: Path,
    run: LidarRun,
    begin: Begin = silent,
    tell: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Train in a folder that is there, or go on there; fit the coder, calibrate, write the model, and sum up the run.

    `tell` is called with what a person should know. A ConfigError where the folder holds a run with other settings, or
    there is no such device; a ModelError where the model to begin with cannot be read.
    """
    preset = preset_named(run.preset)
    sizes = (pairs.resolution_m, pairs.sweep_px, pairs.map_px)
    sampler = PairSampler(pairs.training, *sizes, run.seed)
    validation = PairSampler(pairs.validation, *sizes, run.seed + 1)
    start = read_bundle(run.start).model if run.start is not None else None
    settings = run.settings(with_codec=start is not None and start.preset == preset)
    device = _chosen_device(run.device)
    trainer = LidarTrainer(preset, sampler, validation, settings, sizes[0], start=start, device=device)
    last = run_to_end(trainer, folder, begin, _SHOWN)
    model = trainer.network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    bundle = _made_ready(model, pairs, run, begin, tell)
    places = [*known_places(run.start, weights_folder()), *pairs.places]
    write_whole(folder / MODEL, recorded(bundle.to_bytes(), places))
    return {
        "model": str(folder / MODEL),
        "name": bundle.name,
        "model_bytes": (folder / MODEL).stat().st_size,
        "rate_bit_m2": bundle.rate_bit_m2,
        "calibrated": bool(bundle.thresholds),
        **{f"validation_{key}": float(value) for key, value in asdict(last).items()},
    }


def _chosen_device(device: str) -> str:
    """``auto`` is a GPU where there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no GPU that can be used", "choose --device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _made_ready(
    model: LidarModel, pairs: LidarPairs, run: LidarRun, begin: Begin, tell: Callable[[str], None]
) -> Bundle:
    """Fit the coder, measure the rate and calibrate; default thresholds where there is too little to calibrate on."""
    name = run.name or f"{run.preset}-{run.rate_bit_m2:g}"
    said = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(run).items()}
    provenance = {"source": pairs.name, **said}
    some = SomePairs(pairs.training, range(min(len(pairs.training), _MOST_PAIRS)))
    every = [some[index] for index in range(len(some))]
    if not run.smoke:
        report = begin("Calibrating")
        try:
            return calibrate_model(
                model,
                every,
                pairs.resolution_m,
                name,
                provenance,
                seed=run.seed,
                report=lambda _, done, total: report(done, total),
            ).bundle
        except ConfigError as error:
            tell(f"the localizer's thresholds stay at their defaults: {error}")
    return fit_coder(model, every, pairs.resolution_m, name, provenance).bundle
