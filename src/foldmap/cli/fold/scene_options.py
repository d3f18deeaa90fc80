"""What a user may say of folding a scene, and the codecs that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.types import FloatArray
    from foldmap.visual.codes.codecs import DescriptorCodec
    from foldmap.visual.dpq.train import LayerProgress
    from foldmap.visual.source import SceneModel

PARTS = (2, 4, 8, 16, 32)
"""M of the paper's tables."""

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class SceneOptions:
    """What a user may say of folding a scene; None leaves it to the planner.

    Attributes:
        features: hloc HDF5 or COLMAP database; what lies beside the model where None.
        photos: folder of photos to extract SIFT from instead.
        globals: hloc HDF5 of global descriptors, for retrieval.
        points: at most so many.
        select: how points are chosen.
        alpha: of ``select="gamma"``.
        codec: transform, raw, or one of `foldmap.visual.codes.fit_codecs.KINDS`.
        step: of transform codes.
        parts: M of product codes, bytes a descriptor.
        epochs: of training a D-PQED layer.
        decoder: a trained D-PQED layer, adapted to the scene instead of training one.
        model: a trained D-PQED layer, taken as it is.
        error_px: how far positions may move reprojections.
        images: whether the map's images are kept.
        metric: whether world units are metres.
        seed: of every random choice.
    """

    features: Path | None = None
    photos: Path | None = None
    globals: Path | None = None
    points: int | None = None
    select: str = "spread"
    alpha: float | None = None
    codec: str = "transform"
    step: float | None = None
    parts: int | None = None
    epochs: int | None = None
    decoder: Path | None = None
    model: Path | None = None
    error_px: float | None = None
    images: bool | None = None
    metric: bool | None = None
    seed: int = 0

    def check(self, budget: bool) -> None:
        """Refuse what goes with nothing.

        Args:
            budget: whether a size is asked for.

        Raises:
            ConfigError: naming the option.
        """
        from foldmap.visual.codes.fit_codecs import KINDS, TRAINED
        from foldmap.visual.select.choose import METHODS

        codecs = ("transform", *KINDS, "raw")
        if self.codec not in codecs:
            raise ConfigError(f"there is no codec {self.codec!r}", f"choose one of {', '.join(codecs)}")
        if self.select not in METHODS:
            raise ConfigError(f"no way to choose points is called {self.select!r}", f"take one of {', '.join(METHODS)}")
        only = (
            ("--alpha", self.alpha, self.select == "gamma", "--select gamma"),
            ("--step", self.step, self.codec == "transform", "--codec transform"),
            ("--parts", self.parts, self.codec in KINDS, "a product code like --codec pq"),
            ("--epochs", self.epochs, self.codec in TRAINED, "--codec dpqed or dpqed+"),
            ("--decoder", self.decoder, self.codec in TRAINED, "--codec dpqed or dpqed+"),
        )
        for option, value, fits, partner in only:
            if value is not None and not fits:
                raise ConfigError(f"{option} belongs to {partner}", f"give that too, or leave {option} out")
        if self.select != SceneOptions.select and self.points is None and not budget:
            raise ConfigError("--select chooses points, and all are kept", "give --points or --budget, or leave it out")
        if self.globals is not None and self.images is False:
            raise ConfigError("--globals is for retrieval, which needs images", "leave --globals or --no-images out")
        if self.features is not None and self.photos is not None:
            raise ConfigError("features come from a file or from photos", "give --features or --photos")
        if self.parts is not None and self.decoder is not None:
            raise ConfigError("a decoder has its own number of parts", "leave --parts out")
        if self.model is not None and self.codec not in (SceneOptions.codec, *TRAINED):
            raise ConfigError(f"--model is a layer of foldmap train visual, not of {self.codec}", "leave --codec out")
        if self.model is not None and (self.parts, self.epochs, self.decoder, self.step) != (None,) * 4:
            raise ConfigError("--model is taken as it is", "leave --parts, --epochs, --decoder and --step out")
        positive = (
            ("--points", self.points),
            ("--step", self.step),
            ("--parts", self.parts),
            ("--epochs", self.epochs),
            ("--error-px", self.error_px),
        )
        for option, value in positive:
            if value is not None and not value > 0:
                raise ConfigError(f"{option} {value}", "give a positive number")


def codecs_of(
    scene: SceneModel, means: FloatArray, options: SceneOptions, several: bool, report: Callable[[str], Report]
) -> Sequence[DescriptorCodec]:
    """The codecs to choose among, coarse to fine; one where the user said which, or nothing asks for a choice.

    Args:
        scene: with descriptors.
        means: float32 (P, D), of its tracks.
        options: see there.
        several: whether there is something to choose by, a budget or a report.
        report: as of `fold_scene_folder`.
    """
    from foldmap.localize.visual.plan import STEPS, transform_codecs
    from foldmap.visual.codes.codecs import raw_for

    if options.model is not None:
        from foldmap.visual.dpq.adapt_codec import codec_from_file

        return [codec_from_file(options.model, means.shape[1])]
    if options.codec == "transform":
        return transform_codecs(scene, means, STEPS if options.step is None else (options.step,))
    if options.codec == "raw":
        return [raw_for(means)]
    from foldmap.visual.codes.fit_codecs import DEFAULT_PARTS, TRAINED, descriptors_of, fit_codec, settings_for
    from foldmap.visual.dpq.adapt_codec import adapted_codec
    from foldmap.visual.dpq.serialize import read_layer

    data = descriptors_of(scene)
    if options.codec not in TRAINED:
        fits = [parts for parts in PARTS if options.codec == "additive" or means.shape[1] % parts == 0]
        usual = fits if several else [max(parts for parts in (*fits, 1) if parts <= 16)]
        chosen = [options.parts] if options.parts else usual
        return [fit_codec(data, parts, options.codec, seed=options.seed) for parts in chosen]
    settings = replace(settings_for(options.codec), seed=options.seed)
    if options.epochs is not None:
        settings = replace(settings, epochs=options.epochs)
    done = report("Training the decoder")

    def drawn(progress: LayerProgress) -> None:
        done(progress.epoch, settings.epochs)

    if options.decoder is not None:
        return [adapted_codec(data, read_layer(options.decoder), settings, report=drawn)]
    return [fit_codec(data, options.parts or DEFAULT_PARTS, options.codec, settings, drawn)]
