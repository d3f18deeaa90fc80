"""What the lidar benchmark measures: the learned codec, and every classical one with either matcher."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from foldmap.bench.lidar.baselines.contrast_codec import KINDS, ContrastMapCodec
from foldmap.bench.lidar.baselines.contrast_localizer import ContrastLocalizer
from foldmap.bench.lidar.baselines.embedded import LearnedRasterMatcher
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec, standard_codecs
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.baselines.town_fits import PAIRS, QUICK_PAIRS, TownFits
from foldmap.bench.lidar.baselines.tuning import TrainingPlaces, from_step, tune_matcher
from foldmap.bench.lidar.cases import Codec, Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, FilterOnline, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.online_protocol import OnlineLocalizer, TrackingLocalizer
from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.defaults import RESOLUTION_SLACK, bundles_for, marks_for, suits
from foldmap.lidar.marks.model import MarksModel

MATCHERS = ("ncc", "localizer", "learned")
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
    every_codec: bool = False  # all families, qualities and reductions, not only the best known

    def __post_init__(self) -> None:
        unknown = sorted(set(self.matchers) - set(MATCHERS))
        if unknown or not self.matchers:
            raise ConfigError(f"there is no matcher {' or '.join(unknown)}", f"choose from {', '.join(MATCHERS)}")

    def keeps(self, name: str) -> bool:
        """Whether a method or codec of this name was asked for."""
        return not self.wanted or name.startswith(self.wanted)


def fitting(bundles: Sequence[Bundle], resolution_m: float) -> list[Bundle]:
    """Those of some bundles that take maps of a pixel size. Raises ModelError: none does."""
    near = [b for b in bundles if suits(b, resolution_m)]
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


def marks_methods(choice: Choice) -> list[Method]:
    """The shipped marks with the lidar localizer; none where none are for this resolution."""
    every = [
        Method(MarksCodec(model), EmbeddingMatcher(*choice.half_m), said_of(model))
        for model in marks_for(choice.resolution_m)
    ]
    return [method for method in every if choice.keeps(method.name)]


def said_of(model: Bundle | MarksModel) -> dict[str, Any]:
    """What identifies a model in kept answers."""
    digest = hashlib.sha256(model.to_bytes()).hexdigest()
    return {"model": model.name, "weights": digest, "trained": model.provenance}


BEST = (("sparse", 0.1), ("sparse", 0.2), ("1bit", 0.4))
"""Contrast codes on the front of size and error, kinds with pixels in metres."""
STORED_M = (0.1, 0.2, 0.4, 0.8)
"""Pixels of the contrast codes, to the nearest multiple of the map's."""


def contrast_codecs(fits: TownFits) -> list[ContrastMapCodec]:
    """Every kind of contrast at every pixel size that a map's resolution allows."""
    sizes_m = dict.fromkeys(_multiple_m(stored_m, fits.resolution_m) for stored_m in STORED_M)
    return [fits.codec(kind, pixel_m) for kind in KINDS for pixel_m in sizes_m]


def best_codecs(fits: TownFits) -> list[Codec]:
    """The codes that came out best over a range of sizes, the uncompressed map, and the one-bit map as an image."""
    best = dict.fromkeys((kind, _multiple_m(stored_m, fits.resolution_m)) for kind, stored_m in BEST)
    one_bit = ThresholdMapCodec(_multiple_m(0.4, fits.resolution_m))
    images = one_bit, ImageMapCodec("avif", 20, 4), ImageMapCodec("webp", 5, 4)
    return [ImageMapCodec("raw16"), *(fits.codec(kind, pixel_m) for kind, pixel_m in best), *images]


def _multiple_m(stored_m: float, resolution_m: float) -> float:
    return max(1, round(stored_m / resolution_m)) * resolution_m


def chosen_codecs(choice: Choice, fits: TownFits) -> list[Codec]:
    """The classical codecs that are measured: the best known; all where asked for, or where names are."""
    resolution_m = choice.resolution_m
    if choice.quick:
        codecs: list[Codec] = [ImageMapCodec("raw16"), ImageMapCodec("webp", 5), ImageMapCodec("avif", 20, 4)]
        codecs += [ThresholdMapCodec(8 * resolution_m), fits.codec("sparse", _multiple_m(0.2, resolution_m))]
    elif choice.every_codec or choice.wanted:
        codecs = [*standard_codecs(resolution_m), *contrast_codecs(fits)]
    else:
        codecs = best_codecs(fits)
    return [codec for codec in codecs if choice.keeps(codec.name)]


def ncc_of(codec: Codec) -> NccMatcher:
    """Plain correlation in a codec's maps, of contrast where they hold contrast."""
    return NccMatcher(is_contrast=isinstance(codec, ContrastMapCodec))


def localizer_of(
    codec: Codec, fits: TownFits, half_m: tuple[float, float], normalized: bool = False, lines: float = 0.0
) -> ContrastLocalizer:
    """The lidar localizer in a codec's maps, with thresholds fitted for this codec.

    ``normalized``: by overlap. ``lines``: the share of lines that is taken off maps that are no contrast yet.
    """
    is_contrast = isinstance(codec, ContrastMapCodec)
    share = 0.0 if is_contrast else lines
    return ContrastLocalizer(half_m, is_contrast, lambda: fits.thresholds(codec, is_contrast, share), normalized, share)


def online_of(method: Method, half_m: tuple[float, float]) -> OnlineLocalizer:
    """What drives with a method: the histogram filter where its matcher is the localizer, else tracking."""
    if isinstance(method.codec, LearnedCodec | MarksCodec):
        return FilterOnline(half_m)
    if isinstance(method.matcher, ContrastLocalizer):
        return method.matcher.online()
    return TrackingLocalizer(method.matcher)


def classical_methods(
    choice: Choice,
    matcher: Bundle | None,
    places: TrainingPlaces | None,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Method]:
    """Every classical codec with plain correlation, with the lidar localizer and with the learned matcher.

    The learned matcher of the uncompressed map (``raw16``) is the reference that compression is measured against.
    Matchers that are trained on each codec's output need ``places`` at the maps' resolution; the folder keeps those
    runs.
    """
    fits = TownFits(choice.resolution_m, choice.half_m, QUICK_PAIRS if choice.quick else PAIRS)
    codecs = chosen_codecs(choice, fits)
    methods = []
    for name, make in (("ncc", ncc_of), ("localizer", partial(localizer_of, fits=fits, half_m=choice.half_m))):
        if name in choice.matchers:
            methods += [Method(codec, make(codec), _fitted(codec, name, fits)) for codec in codecs]
    if LEARNED not in choice.matchers or not codecs:
        return methods
    if matcher is None or not matcher.can_fold:
        raise ModelError("the learned matcher needs a model that can fold", "give one, or choose the matcher ncc")
    plain = LearnedRasterMatcher(matcher, choice.half_m, LEARNED)
    methods += [Method(c, plain.another(), said_of(matcher) | _fitted(c, LEARNED, fits)) for c in codecs]
    if choice.train_matchers:
        methods += _tuned(choice, codecs, matcher, places, folder, report)
    return methods


def _fitted(codec: Codec, matcher: str, fits: TownFits) -> dict[str, Any]:
    """What was fitted elsewhere for a method, for kept answers."""
    return fits.settings() if isinstance(codec, ContrastMapCodec) or matcher == "localizer" else {}


def _tuned(
    choice: Choice,
    codecs: Sequence[Codec],
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


def _at_resolution(codec: Codec, resolution_m: float, pairs_m: float) -> Codec:
    """The codec for pairs whose pixels differ a little: a threshold map's pixel is as many of theirs."""
    if isinstance(codec, ThresholdMapCodec | ContrastMapCodec) and pairs_m != resolution_m:
        return replace(codec, pixel_m=round(codec.pixel_m / resolution_m) * pairs_m)
    return codec
