"""Train a lidar model: the matcher first, then the codec inserted, end to end (paper section 4, "Experimental Setup").

Modes: `match` is the paper's method; `scratch` is the same without the first stage; `recon` trains the codec on the
reconstruction of the embedding alone, "Ours (recon)".
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from foldmap.errors import ConfigError
from foldmap.lidar import losses
from foldmap.lidar.fit_coder import rate_of
from foldmap.lidar.match.trainable import correlate, rotate_embedding
from foldmap.lidar.model import LidarModel, binarize, symbols_of
from foldmap.lidar.pairs.sampling import Batch, PairSampler, cell_weight
from foldmap.lidar.presets import Preset
from foldmap.training.loop import Trainer, cosine, descend, set_rate
from foldmap.types import ByteArray

MODES = ("match", "scratch", "recon")
PAPER_OBJECTIVE = {"recon_weight": 0.0, "raw_weight": 0.0, "warmup": 0.0, "follow_rate": False}
"""Settings under which eq. 7 alone is trained, its lambda_1 fixed at ``code_weight``."""
WARM_RATE = 4.0  # while warming up, codes poorer than this multiple of the target rate are pushed to spread,
WARM_FILL = 0.7  # or than this share of what the code can hold at all,
WARM_SPREAD = 4.0  # with this weight


@dataclass(frozen=True)
class LidarTrainSettings:
    """Everything that decides a run, apart from the pairs.

    Attributes:
        mode: one of `MODES`.
        matcher_steps, codec_steps: steps without the codec, then with it.
        batch: pairs a step.
        radius_px: half the search window.
        headings, heading_range_rad: candidate headings a step, the true one and others from +- this range.
        learning_rate: Adam's, decayed to a tenth along a cosine in each stage (paper: 1e-3).
        rate_bit_m2: the zero-order code entropy aimed at, in bits per m2 of observed cells; lambda_1 follows it.
        code_weight: lambda_1 to begin with, per bit/m2.
        hard_weight: lambda_2 of eq. 7.
        recon_weight: of the relative reconstruction error beside the match; 0 is the paper's.
        warmup: share of the codec's steps in which the code is free and the reconstruction helps, lest it collapses.
        follow_rate: whether lambda_1 follows the rate, or stays at ``code_weight``.
        anytime: the learning rate falls with the root of the steps instead, so that a run may end at any of them and is
            the same as one of so many steps.
        raw_weight: of the match of the uncompressed embedding beside the decoded one, which keeps it useful.
    """

    mode: str = "match"
    matcher_steps: int = 1500
    codec_steps: int = 3000
    batch: int = 8
    radius_px: int = 20
    headings: int = 3
    heading_range_rad: float = math.radians(5)
    learning_rate: float = 1.5e-3
    rate_bit_m2: float = 2.2
    code_weight: float = 3e-4
    hard_weight: float = 0.02
    recon_weight: float = 2.0
    warmup: float = 0.15
    raw_weight: float = 0.3
    follow_rate: bool = True
    anytime: bool = False
    validate_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"there is no training mode {self.mode!r}", f"choose one of {', '.join(MODES)}")
        if self.codec_steps < 0 or self.matcher_steps < 0 or self.batch < 1 or self.headings < 1:
            raise ConfigError("steps, batch and headings must not be negative or empty", "give positive numbers")
        if not (self.rate_bit_m2 > 0 and self.code_weight > 0):
            given = f"a rate of {self.rate_bit_m2} bit/m2, weight {self.code_weight}"
            raise ConfigError(given, "give positive numbers")

    @property
    def first_stage(self) -> int:
        """Steps before the codec is inserted."""
        return 0 if self.mode == "scratch" else self.matcher_steps

    @property
    def steps(self) -> int:
        """All steps."""
        return self.first_stage + self.codec_steps


@dataclass(frozen=True)
class LidarProgress:
    """One line of the training log, of a step's batch or of held-out ones: bit/m2 of observed cells, losses in nats.

    ``coded_bit_m2`` is what the context coder spends, fitted on half of the held-out codes, on the other half; NaN of a
    step, before the codec and where too little is coded.
    """

    step: int
    loss: float
    match: float
    rate_bit_m2: float
    hard: float
    code_weight: float
    top1: float
    top9: float
    coded_bit_m2: float = math.nan


@dataclass(frozen=True)
class Forward:
    """What one pass gives."""

    scores_BTHW: Tensor
    raw_scores_BTHW: Tensor | None
    target_BTHW: Tensor
    rate_bit_m2: Tensor
    hard_bits: Tensor
    recon: Tensor
    most_bit_m2: float
    codes_BGHW: Tensor | None
    coded_m2: float


def forward(
    model: LidarModel,
    batch: Batch,
    headings_rad_BT: Tensor,
    settings: LidarTrainSettings,
    cell_m: float,
    *,
    codec: bool,
    warm: float = 0.0,
) -> Forward:
    """Embed both sides, fold and unfold the map's, match; `warm` of the code is the soft p instead of the binary b."""
    preset = model.preset
    sweep = model.sweep_embedding(batch.sweep_B2HW).float()
    embedding = model.map_embedding(batch.map_B2HW).float()
    observed = batch.map_B2HW[:, 1:2]
    zero = embedding.new_zeros(())
    rate, hard, recon, decoded = zero, zero, zero, embedding
    codes, coded_m2 = None, 0.0
    if codec:
        source = embedding.detach() if settings.mode == "recon" else embedding
        probability, code = binarize(model.encoder(source))
        weight = cell_weight(observed, preset.downsample)
        codes, coded_m2 = symbols_of(code.detach(), weight), float(weight.sum()) * cell_m**2
        code = (1 - warm) * code + warm * probability
        decoded = model.decoder(code * weight[:, None, None]).float()
        rate = losses.code_length_loss(probability, weight) / cell_m**2
        hard = losses.hard_binary_loss(probability, weight)
        power = embedding.detach().square().mean().clamp_min(1e-9)
        recon = losses.reconstruction_loss(decoded, embedding, observed) / power
    side = sweep.shape[-1]
    window = side + 2 * settings.radius_px
    cut = (embedding.shape[-1] - window) // 2
    headings_B = headings_rad_BT + batch.turn_rad_B[:, None]
    each = zip(sweep[:, None], headings_B, strict=True)
    turned = torch.stack([rotate_embedding(one, headings, (side, side))[0] for one, headings in each])
    # Inner products are divided by the root of the observed pixels, as noise grows.
    count = batch.sweep_B2HW[:, 1:2].sum(dim=(1, 2, 3)).clamp_min(1.0)
    scale = (model.log_temperature.exp() / count.sqrt())[:, None, None, None]

    def scores(of: Tensor) -> Tensor:
        return correlate(of[..., cut : cut + window, cut : cut + window], turned, settings.radius_px) * scale

    matched = scores(decoded)
    raw = scores(embedding) if codec and settings.raw_weight > 0 and settings.mode != "recon" else None
    target = losses.pose_target(matched, headings_rad_BT.abs().argmin(dim=1), batch.shift_px_B2)
    most_bit_m2 = preset.groups * math.log2(preset.group_channels + 1) / cell_m**2
    return Forward(matched, raw, target, rate, hard, recon, most_bit_m2, codes, coded_m2)


def draw_headings(batch: int, settings: LidarTrainSettings, generator: torch.Generator) -> Tensor:
    """Candidate headings around the truth, (B, T); the first is the truth, the others at least half a degree away."""
    others = torch.rand(batch, settings.headings - 1, generator=generator) * 2 - 1
    away = others.sign() * math.radians(0.5) + others * settings.heading_range_rad
    return torch.cat([torch.zeros(batch, 1), away], dim=1)


def warmup_left(settings: LidarTrainSettings, step: int) -> float:
    """1 when the codec has just been inserted, falling to 0 at the end of the warm-up."""
    length = settings.warmup * settings.codec_steps
    return max(0.0, 1.0 - (step - settings.first_stage) / length) if length > 0 else 0.0


def objective(result: Forward, settings: LidarTrainSettings, code_weight: float, warm: float, *, codec: bool) -> Tensor:
    """Eq. 7, with the terms that the mode uses; `warm` from `warmup_left`."""
    if not codec:
        return losses.matching_loss(result.scores_BTHW, result.target_BTHW)
    coded = (1 - warm) * (code_weight * result.rate_bit_m2 + settings.hard_weight * result.hard_bits)
    if settings.mode == "recon":
        return result.recon + coded
    recon_weight = settings.recon_weight + warm
    free_rate = min(WARM_RATE * settings.rate_bit_m2, WARM_FILL * result.most_bit_m2)
    idle = functional.relu(1 - result.rate_bit_m2 / free_rate)
    loss = losses.matching_loss(result.scores_BTHW, result.target_BTHW) + coded + recon_weight * result.recon
    loss = loss + warm * WARM_SPREAD * idle
    if result.raw_scores_BTHW is not None:
        loss = loss + settings.raw_weight * losses.matching_loss(result.raw_scores_BTHW, result.target_BTHW)
    return loss


class LidarTrainer(Trainer[Batch, LidarProgress]):
    """Trains matcher and codec on pairs of a pixel size, on the device "cpu" or "cuda".

    It is validated on places that are not trained on, or not at all; ``start`` is a trained model instead of random
    weights, see `LidarModel.begin_with`.
    """

    network: LidarModel

    def __init__(
        self,
        preset: Preset,
        sampler: PairSampler,
        validation: PairSampler | None,
        settings: LidarTrainSettings,
        resolution_m: float,
        *,
        start: LidarModel | None = None,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(settings.seed)
        model = LidarModel(preset)
        if start is not None:
            model.begin_with(start)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        identity = {"preset": preset.to_dict(), "settings": asdict(settings), "resolution_m": resolution_m}
        super().__init__(model, optimizer, identity, settings.steps, settings.validate_every, LidarProgress)
        self.settings, self.device, self._sampler = settings, device, sampler
        self._cell_m = preset.downsample * resolution_m
        self._held_out = [] if validation is None else [validation.batch(settings.batch) for _ in range(8)]
        self._control = losses.RateControl(settings.rate_bit_m2, settings.code_weight, follow=settings.follow_rate)

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The rate control."""
        return {}, {"log_weight": self._control.log_weight, "smooth": self._control.smooth}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any], lines: list[LidarProgress]) -> None:
        """The rate control; the sampler goes on where it stopped."""
        self._control.log_weight, self._control.smooth = facts["log_weight"], facts["smooth"]
        for _ in lines:
            self._sampler.batch(self.settings.batch)

    def draw(self, step: int) -> Batch:
        """The sampler's next batch."""
        return self._sampler.batch(self.settings.batch)

    def step(self, step: int, drawn: Batch) -> LidarProgress:
        """One step of either stage."""
        settings, first = self.settings, self.settings.first_stage
        codec = step > first
        done, length = (step - first, settings.codec_steps) if codec else (step, first)
        falling = min(1.0, math.sqrt(50 / done)) if settings.anytime else cosine(min(done / length, 1.0), 0.1)
        set_rate(self.optimizer, settings.learning_rate * falling * min(1.0, done / 50))
        warm = warmup_left(settings, step) if codec else 0.0
        with torch.autocast(device_type=self.device, dtype=torch.bfloat16):
            result = self._forward(drawn, settings.seed * 1_000_003 + step, codec, warm)
        loss = objective(result, settings, self._control.weight, warm, codec=codec)
        descend(self.optimizer, loss, clip=self.network)
        if codec and warm == 0:
            self._control.update(float(result.rate_bit_m2.detach()))
        return self._line(step, loss, result)

    def validated(self, line: LidarProgress) -> LidarProgress:
        """Average the objective and the accuracies over held-out batches, and code what they hold."""
        if not self._held_out:
            return line
        codec, lines = line.step > self.settings.first_stage, list[dict[str, Any]]()
        coded = list[tuple[ByteArray, float]]()
        for seed, batch in enumerate(self._held_out):
            result = self._forward(batch, seed, codec, 0.0)
            loss = objective(result, self.settings, self._control.weight, 0.0, codec=codec)
            lines.append(asdict(self._line(line.step, loss, result)))
            if result.codes_BGHW is not None:
                coded.append((result.codes_BGHW.cpu().numpy(), result.coded_m2))
        means = {name: sum(one[name] for one in lines) / len(lines) for name in lines[0]}
        rate = rate_of(coded, self.network.preset.group_channels) if codec else math.nan
        fixed = {"step": line.step, "code_weight": self._control.weight, "coded_bit_m2": rate}
        return LidarProgress(**{**means, **fixed})

    def _forward(self, batch: Batch, seed: int, codec: bool, warm: float) -> Forward:
        generator = torch.Generator().manual_seed(seed)
        headings = draw_headings(len(batch.turn_rad_B), self.settings, generator).to(self.device)
        pair = batch.map_B2HW, batch.sweep_B2HW
        maps, sweeps = (image.to(self.device, memory_format=torch.channels_last) for image in pair)
        on_device = Batch(maps, sweeps, batch.turn_rad_B.to(self.device), batch.shift_px_B2.to(self.device))
        return forward(self.network, on_device, headings, self.settings, self._cell_m, codec=codec, warm=warm)

    def _line(self, step: int, loss: Tensor, result: Forward) -> LidarProgress:
        scores = result.scores_BTHW.detach()
        numbers = (loss, losses.matching_loss(scores, result.target_BTHW), result.rate_bit_m2, result.hard_bits)
        loss_nat, match_nat, rate_bit_m2, hard = (float(value.detach()) for value in numbers)
        top1, top9 = losses.match_accuracy(scores, result.target_BTHW)
        return LidarProgress(step, loss_nat, match_nat, rate_bit_m2, hard, self._control.weight, top1, top9)
