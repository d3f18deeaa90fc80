"""What the lidar benchmark measures: the learned codec, and every classical one with either matcher."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foldmap.bench.lidar.baselines.embedded import LearnedRasterMatcher
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, MapCodec, ThresholdMapCodec, standard_codecs
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.baselines.tuning import TrainingPlaces, from_step, tune_matcher
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.defaults import RESOLUTION_SLACK, bundles_for

MATCHERS = ("ncc", "learned")
LEARNED = "learned"
TUNED = "learned-on-output"


@dataclass(frozen=True)
class Choice:
    """Which methods are measured."""

    resolution_m: float  # of the maps
    half_m: tuple[float, float]  # extent of the observations, half length and half width
    wanted: tuple[str, ...] = ()  # keep methods whose name starts with one of these; all where empty
    matchers: tuple[str, ...] = MATCHERS  # what classical codecs are matched with, some of `MATCHERS`
    quick: bool = False  # few codecs
    train_matchers: int = 0  # steps that the learned matcher is trained on each codec's output; 0 uses it as it is

    def __post_init__(self) -> None:
        unknown = sorted(set(self.matchers) - set(MATCHERS))
        if unknown or not self.matchers:
            raise ConfigError(f"there is no matcher {' or '.join(unknown)}", f"choose from {', '.join(MATCHERS)}")

    def keeps(self, name: str) -> bool:
        """Whether a method or codec of this name was asked for."""
        return not self.wanted or name.startswith(self.wanted)


def fitting(bundles: Sequence[Bundle], resolution_m: float) -> list[Bundle]:
    """Those of some bundles that take maps of a pixel size. Raises ModelError: none does."""
    near = [b for b in bundles if 1 / RESOLUTION_SLACK <= b.resolution_m / resolution_m <= RESOLUTION_SLACK]
    if not near:
        known = ", ".join(f"{b.name} ({b.resolution_m:g} m)" for b in bundles) or "none"
        raise ModelError(f"no model is for {resolution_m:g} m pixels; given: {known}", "give a model for this map")
    return near


def chosen_bundles(choice: Choice, given: Sequence[Bundle] | None) -> list[Bundle]:
    """The operating points: the given ones that fit, or the shipped ones; none where none is asked for."""
    classical_only = bool(choice.wanted) and not any(name.startswith("foldmap") for name in choice.wanted)
    if classical_only and (LEARNED not in choice.matchers):
        return []
    return fitting(given, choice.resolution_m) if given is not None else bundles_for(choice.resolution_m)


def learned_methods(bundles: Sequence[Bundle], choice: Choice) -> list[Method]:
    """The learned codec with the lidar localizer, one method an operating point; each bundle must be able to fold."""
    for bundle in bundles:
        require_fold(bundle)
    every = [Method(LearnedCodec(b), EmbeddingMatcher(*choice.half_m), said_of(b)) for b in bundles]
    return [method for method in every if choice.keeps(method.name)]


def said_of(bundle: Bundle) -> dict[str, Any]:
    """What identifies a bundle in kept answers."""
    digest = hashlib.sha256(bundle.to_bytes()).hexdigest()
    return {"model": bundle.name, "weights": digest, "trained": bundle.provenance}


def chosen_codecs(choice: Choice) -> list[MapCodec]:
    """The classical codecs that are measured."""
    codecs: Sequence[MapCodec] = standard_codecs(choice.resolution_m)
    if choice.quick:
        coarse = 8 * choice.resolution_m
        codecs = [ImageMapCodec("raw16"), ImageMapCodec("webp", 5), ImageMapCodec("avif", 20, 4)]
        codecs = [*codecs, ThresholdMapCodec(coarse)]
    return [codec for codec in codecs if choice.keeps(codec.name)]


def classical_methods(
    choice: Choice,
    matcher: Bundle | None,
    places: TrainingPlaces | None,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Method]:
    """Every classical codec with plain correlation and with the learned matcher.

    The learned matcher of the uncompressed map (``raw16``) is the reference that compression is measured against.
    Matchers that are trained on each codec's output need ``places`` at the maps' resolution; the folder keeps those
    runs.
    """
    codecs = chosen_codecs(choice)
    methods = [Method(codec, NccMatcher()) for codec in codecs] if "ncc" in choice.matchers else []
    if LEARNED not in choice.matchers or not codecs:
        return methods
    if matcher is None or not matcher.can_fold:
        raise ModelError("the learned matcher needs a model that can fold", "give one, or choose the matcher ncc")
    plain = LearnedRasterMatcher(matcher, choice.half_m, LEARNED)
    methods += [Method(codec, plain.another(), said_of(matcher)) for codec in codecs]
    if choice.train_matchers:
        methods += _tuned(choice, codecs, matcher, places, folder, report)
    return methods


def _tuned(
    choice: Choice,
    codecs: Sequence[MapCodec],
    matcher: Bundle,
    places: TrainingPlaces | None,
    folder: Path,
    report: Callable[[int, int], None],
) -> list[Method]:
    if places is None:
        raise ConfigError("there are no pairs to train matchers on", "name a folder of pairs (--pairs DIR)")
    if not 1 / RESOLUTION_SLACK <= places.resolution_m / choice.resolution_m <= RESOLUTION_SLACK:
        raise ConfigError(
            f"the pairs have {places.resolution_m:g} m pixels, the maps {choice.resolution_m:g} m",
            "make pairs at the maps' resolution",
        )
    methods: list[Method] = []
    total = len(codecs) * choice.train_matchers
    for index, codec in enumerate(codecs):
        done = index * choice.train_matchers
        there = _at_resolution(codec, choice.resolution_m, places.resolution_m)
        steps = choice.train_matchers
        own = tune_matcher(matcher, there, places, steps, folder, from_step(report, done, total))
        methods.append(Method(codec, LearnedRasterMatcher(own, choice.half_m, TUNED), said_of(own)))
    return methods


def _at_resolution(codec: MapCodec, resolution_m: float, pairs_m: float) -> MapCodec:
    """The codec for pairs whose pixels differ a little: a threshold map's pixel is as many of theirs."""
    if isinstance(codec, ThresholdMapCodec) and pairs_m != resolution_m:
        return replace(codec, pixel_m=round(codec.pixel_m / resolution_m) * pairs_m)
    return codec
