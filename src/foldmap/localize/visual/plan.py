"""Which points and which codes make the best file of a given size: every candidate is folded, and localized in.

    budget -> for each codec, as many points as fit -> localize held-out map images in it -> the plan that errs least

Candidates are judged on the scene itself: blocks of consecutive images are taken out of every track, and localized in
what each candidate keeps of the rest. So the choice between fewer faithful descriptors and more coarse ones is
measured, not assumed. Where the trial cannot tell two of them apart, the finer one is taken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldWriter
from foldmap.atlas.schema import PAGE_SIZE
from foldmap.errors import BudgetError, ConfigError
from foldmap.localize.visual.heldout import HeldOutImages, held_out_turns
from foldmap.localize.visual.widening import HeldErrors
from foldmap.types import DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.basis import standard_basis
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import DescriptorCodec, Transform
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.select import Selection, choose_points
from foldmap.visual.source import SceneModel

STEPS = (0.15, 0.12, 0.1, 0.08, 0.065, 0.05)
DEFAULT_STEP = 0.08
LEAST_POINTS = 50
_OWN_RANK = 48
_EQUAL_LOSS = 0.03  # losses so close are the same to a user, however surely one is the smaller
_UNANSWERED, _EXACT = 1.0, 1e-12  # errors (of the scene's radius) that count for no answer, and where logarithms stop
_ROUGHLY, _CLOSELY = 0.04, 0.01  # how much of the budget a candidate may leave unused, in the trial and in the end

Report = Callable[[int, int], None]
Weigh = Callable[[VisualPlan], int]


@dataclass(frozen=True)
class PlanOptions:
    """What is fixed before a plan is chosen.

    Attributes:
        points: at most so many; None: all that fit.
        select, select_settings: how points are chosen (`foldmap.visual.select.choose_points`), like alpha of "gamma".
        error_px, images: as of `VisualPlan`.
        trials: up to so many map images that candidates are judged by; 0 takes the middle candidate unseen.
    """

    points: int | None = None
    select: str = "spread"
    select_settings: Mapping[str, Any] = field(default_factory=dict)
    error_px: float | None = None
    images: bool | None = None
    trials: int = 48
    seed: int = 0


@dataclass(frozen=True)
class Candidate:
    """One way to fill the budget: points kept, parameters of the codec, bytes of the whole file.

    Attributes:
        answered: share of the held-out map images that were answered; NaN where nothing was tried.
        median_error: of their centres' distances from the truth, share of the scene's radius; infinite where most were
            not answered.
        loss: mean log10 of those distances, 1 where nothing was answered; what the choice minimizes.
    """

    points: int
    codec: Mapping[str, Any]
    file_bytes: int
    answered: float = float("nan")
    median_error: float = float("nan")
    loss: float = float("nan")


@dataclass(frozen=True)
class Planned:
    """The plan that was chosen, and what it was chosen among.

    ``errors`` are those of held-out images localized in it, as `HeldOutImages.localize` gives them; of none where
    nothing was tried.
    """

    plan: VisualPlan
    chosen: Candidate
    curve: tuple[Candidate, ...]
    errors: HeldErrors = field(default_factory=HeldErrors.joined)


def transform_codecs(scene: SceneModel, means: FloatArray, steps: Sequence[float] = STEPS) -> list[DescriptorCodec]:
    """Transform codecs of several steps, coarse to fine, on one basis.

    It is the format's own for the scene's feature where there is one, else one fitted to the scene, held by the file.
    """
    basis = standard_basis(scene.feature)
    if basis is not None and basis.dimension == means.shape[1]:
        return [Transform(basis, step, standard=True) for step in steps]
    own = fit_basis(means, min(_OWN_RANK, means.shape[1], max(1, len(means) - 1)), feature=scene.feature)
    return [Transform(own, step, standard=False) for step in steps]


def plan_for_budget(
    scene: SceneModel,
    means: FloatArray,
    budget_bytes: int | None,
    codecs: Sequence[DescriptorCodec],
    options: PlanOptions | None = None,
    *,
    size_with: Weigh | None = None,
    report: Report = lambda done, total: None,
) -> Planned:
    """Choose points and codec for a file of at most a size, from candidates coarse to fine.

    Args:
        scene: with tracks and descriptors.
        means: float32 (P, D), `track_means` of it.
        budget_bytes: a BudgetError names the least where not even `LEAST_POINTS` points fit. None: every point (or
            ``options.points``), and the codec nearest to `DEFAULT_STEP`.
        codecs: see there.
        options: see there.
        size_with: bytes that a plan takes of the budget; None: those of a file that holds nothing else.
        report: called with steps done and in all.
    """
    options = options or PlanOptions()
    if not codecs:
        raise ConfigError("there is no descriptor codec to choose", "give at least one")
    most = min(len(scene.points_world), options.points or len(scene.points_world))
    with tempfile.TemporaryDirectory() as folder:
        trials = _Candidates(scene, means, options, size_with, Path(folder) / "candidate.fold")
        if budget_bytes is None:
            default = min(
                codecs, key=lambda codec: abs(float(codec.parameters().get("step", DEFAULT_STEP)) - DEFAULT_STEP)
            )
            plan = trials.plan(trials.best_points(most), default)
            chosen = Candidate(most, plan.codec.parameters(), trials.size_of(plan))
            return Planned(plan, chosen, (chosen,))
        trials.rank(min(most, max(LEAST_POINTS, budget_bytes // 3)))
        filled = [trials.fill(codec, budget_bytes, most, _ROUGHLY) for codec in codecs]
        fitting = _worth_trying([plan for plan in filled if plan is not None], most)
        if not fitting:
            few = trials.best_points(min(most, LEAST_POINTS))
            least = min(trials.size_of(trials.plan(few, codec)) for codec in codecs)
            need = f"{budget_bytes} bytes hold no map: {len(few)} points need {least}"
            raise BudgetError(need, f"give at least {least} bytes", least)
        curve, losses, errors = _judged(trials, fitting, options, report)
        best = _best_of(losses)
        closer = trials.fill(fitting[best].codec, budget_bytes, most, _CLOSELY) or fitting[best]
        chosen = replace(curve[best], points=len(closer.kept), file_bytes=trials.size_of(closer))
        return Planned(closer, chosen, tuple(curve), errors[best])


class _Candidates:
    """Plans of one scene under one set of options, folded and weighed."""

    def __init__(
        self, scene: SceneModel, means: FloatArray, options: PlanOptions, size_with: Weigh | None, path: Path
    ) -> None:
        self.scene, self.options, self.path = scene, options, path
        self._size_with = size_with or (lambda plan: self.fold(scene, means, plan))
        self._sizes: dict[int, tuple[VisualPlan, int]] = {}
        self._order: IntArray = np.zeros(0, np.int64)

    def _choose(self, count: int) -> Selection:
        options = self.options
        return choose_points(self.scene, count, options.select, seed=options.seed, **options.select_settings)

    def rank(self, most: int) -> None:
        """Choose up to so many points, best first, where the method ranks them."""
        order = self._choose(most).order
        self._order = np.zeros(0, np.int64) if order is None else np.asarray(order)

    def best_points(self, count: int) -> IntArray:
        """Indices of the best so many points, ascending."""
        if count >= len(self.scene.points_world):
            return np.arange(len(self.scene.points_world))
        return np.asarray(self._choose(count).kept) if count > len(self._order) else np.sort(self._order[:count])

    def plan(self, kept: IntArray, codec: DescriptorCodec) -> VisualPlan:
        return VisualPlan(kept, codec, self.options.error_px, self.options.images, seed=self.options.seed)

    def fold(self, scene: SceneModel, means: FloatArray, plan: VisualPlan) -> int:
        """Fold a scene into a file of its own; its bytes."""
        with FoldWriter(self.path) as writer:
            fold_visual(writer, scene, plan, means=means)
        return self.path.stat().st_size

    def size_of(self, plan: VisualPlan) -> int:
        """Bytes of the file that a plan gives."""
        if id(plan) not in self._sizes:
            self._sizes[id(plan)] = plan, self._size_with(plan)
        return self._sizes[id(plan)][1]

    def fill(self, codec: DescriptorCodec, budget_bytes: int, most: int, spare: float) -> VisualPlan | None:
        """As many points as fit with a codec; None where not even the fewest do.

        The size grows almost linearly with the points, but for the step where a map begins to need retrieval: so a few
        foldings between two brackets find the number; ``spare`` is the share of the budget that may be left.
        """
        low = min(most, LEAST_POINTS)
        best = self.plan(self.best_points(low), codec)
        low_bytes = self.size_of(best)
        if low_bytes > budget_bytes:
            return None
        high, slope = most + 1, 8.0
        for _ in range(12):
            # files grow by whole pages: what is left below one page is not worth another folding
            if low + 1 >= high or budget_bytes - low_bytes < max(PAGE_SIZE, spare * budget_bytes):
                break
            guess = low + int((budget_bytes - low_bytes) / slope)
            # where both brackets are known, never creep along one of them
            margin = max((high - low) // 8, 1) if high <= most else 1
            guess = min(max(guess, low + margin), high - margin)
            plan = self.plan(self.best_points(guess), codec)
            size = self.size_of(plan)
            slope = max((size - low_bytes) / (guess - low), 1e-3)
            if size <= budget_bytes:
                low, low_bytes, best = guess, size, plan
            else:
                high = guess
        return best


def _worth_trying(plans: Sequence[VisualPlan], most: int) -> list[VisualPlan]:
    """Of the plans, coarse to fine, that keep every point only the finest: the coarser ones are worse for nothing."""
    whole = [number for number, plan in enumerate(plans) if len(plan.kept) >= most]
    return [plan for number, plan in enumerate(plans) if len(plan.kept) < most or number == whole[-1]]


def _judged(
    trials: _Candidates, plans: Sequence[VisualPlan], options: PlanOptions, report: Report
) -> tuple[list[Candidate], DoubleArray, list[HeldErrors]]:
    """Try the candidates on held-out map images.

    Gives the candidates with what they reached; float64 (plans, images), the log10 of how far each image errs in each;
    and of each the errors of its answers, see `Planned`.

    Nothing is tried where there is nothing to choose or to try with.
    """
    turns = held_out_turns(trials.scene, options.trials)
    curve = [Candidate(len(plan.kept), plan.codec.parameters(), trials.size_of(plan)) for plan in plans]
    if len(plans) == 1 or not turns:
        return curve, np.zeros((len(plans), 0)), [HeldErrors.joined() for _ in plans]
    found: list[list[DoubleArray]] = [[] for _ in plans]
    each: list[list[HeldErrors]] = [[] for _ in plans]
    for turn, names in enumerate(turns):
        trial = HeldOutImages(trials.scene, names)
        for number, plan in enumerate(plans):
            off, own = trial.localize(plan, trials.path)
            found[number].append(off)
            each[number].append(own)
            report(turn * len(plans) + number + 1, len(turns) * len(plans))
    errors = np.array([np.concatenate(one) for one in found])
    answered = np.isfinite(errors)
    losses: DoubleArray = np.log10(np.where(answered, np.maximum(errors, _EXACT), _UNANSWERED))
    signals = zip(curve, answered.mean(1), np.median(errors, 1), losses.mean(1), strict=True)
    judged = [replace(one, answered=float(a), median_error=float(m), loss=float(b)) for one, a, m, b in signals]
    return judged, losses, [HeldErrors.joined(one) for one in each]


def _best_of(losses: DoubleArray) -> int:
    """The finest of the candidates that the trial cannot tell from the one that errs least; the middle one untried.

    The same images are localized in all, so image by image they are compared: what is within one standard error of the
    mean difference is not told apart. Losses are float64 (candidates, images), candidates coarse to fine.
    """
    candidates, images = losses.shape
    if not images:
        return int(candidates) // 2
    worse = losses - losses[losses.mean(axis=1).argmin()]
    noise = worse.std(axis=1, ddof=1) / np.sqrt(images) if images > 1 else np.full(candidates, np.inf)
    return int(np.flatnonzero(worse.mean(axis=1) <= np.maximum(noise, _EQUAL_LOSS))[-1])
