"""Scenes into the visual layer of an open file: descriptors joined, points and codes chosen for a budget."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foldmap.api.folding.aligning import align_scene
from foldmap.api.folding.options import Begin, VisualOptions
from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter
from foldmap.errors import BudgetError
from foldmap.formats.scenes import read_scene
from foldmap.localize.evidence import KEY
from foldmap.localize.visual.negatives import CALIBRATION_BYTES, PLACE_BYTES, calibrated, fold_calibrated
from foldmap.localize.visual.plan import STEPS, Planned, PlanOptions, plan_for_budget, transform_codecs
from foldmap.localize.visual.widening import doubted_places
from foldmap.types import FloatArray
from foldmap.version import __version__
from foldmap.visual.codes.codecs import DescriptorCodec, raw_for
from foldmap.visual.fold import LAYER, VisualPlan, VisualReport, fold_visual
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.join import JoinReport
from foldmap.visual.source import SceneModel
from foldmap.visual.unfold import FoldedVisual, bytes_by_use
from foldmap.visual.update import update_visual

PARTS = (2, 4, 8, 16, 32)
"""Bytes of product codes that are tried: M of the paper's tables."""
_TRIES = 3
RECALIBRATED = 0.1
"""Share of the points that an update must change for the map to be calibrated anew."""


@dataclass(frozen=True)
class ChosenScene:
    """A scene with the means of its tracks, float32 (P, D), what was wanted, what was chosen, and what that took.

    ``joined`` is the share of the observations that got a descriptor; None where they came with theirs. ``aligned`` is
    what `align_scene` says; None where the scene stays in its own frame.
    """

    scene: SceneModel
    means: FloatArray
    wanted: PlanOptions
    planned: Planned
    folded: VisualReport
    joined: float | None
    aligned: dict[str, Any] | None = None

    def summary(self) -> dict[str, Any]:
        """What the summary says of the choice."""
        return {
            "codec": self.planned.plan.codec.parameters(),
            "error_px": round(self.folded.error_px, 4),
            "noise_px": round(self.folded.noise_px, 4),
            "points_of_scene": len(self.scene.points_world),
            "observations_joined": self.joined,
            **({} if self.aligned is None else {"aligned": self.aligned}),
        }


@dataclass(frozen=True)
class ReadScene:
    """A scene before it is folded: the means of its tracks, float32 (P, D), the codecs to choose among, what is wanted.

    ``joined`` and ``aligned`` as of `ChosenScene`.
    """

    folder: Path
    scene: SceneModel
    means: FloatArray
    codecs: Sequence[DescriptorCodec]
    wanted: PlanOptions
    joined: float | None
    aligned: dict[str, Any] | None

    def default_bytes(self) -> int:
        """What it adds to a file without a budget: all points that are wanted, by the default codec."""
        with tempfile.TemporaryDirectory() as folder, FoldWriter(Path(folder) / "empty.fold") as writer:
            empty = writer.size_bytes()
        return plan_for_budget(self.scene, self.means, None, self.codecs, self.wanted).chosen.file_bytes - empty


def read_for_folding(folder: Path, options: VisualOptions, budget: bool, begin: Begin) -> ReadScene:
    """Read a scene with all that its folding chooses among; ``budget`` is whether a size is asked for.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    options.check(budget)
    scene, joined, aligned = read_with_descriptors(folder, options)
    means = track_means(scene)
    codecs = codecs_of(scene, means, options, budget, begin)
    settings = {"alpha": options.alpha} if options.alpha is not None else {}
    # global descriptors are for retrieval: who gives them wants the map searched by image
    images = True if options.globals is not None else options.images
    wanted = PlanOptions(options.points, options.select, settings, options.error_px, images, seed=options.seed)
    share = None if joined is None else round(joined.fraction, 4)
    return ReadScene(folder, scene, means, codecs, wanted, share, aligned)


def fold_scene(
    writer: FoldWriter, read: ReadScene, options: VisualOptions, budget_bytes: int | None, begin: Begin
) -> ChosenScene:
    """Fold a scene into a file that holds all else that it will hold; the caller commits.

    Raises:
        BudgetError: the budget holds no map.
    """
    scene, means = read.scene, read.means
    said = _provenance(read.folder, options, budget_bytes)
    if read.aligned is not None:
        said["aligned"] = {key: read.aligned[key] for key in ("pairs", "agree", "rms_m")}
    writer.put_metadata("visual", said)
    others = writer.size_bytes() if budget_bytes is not None and writer.layers else 0
    left = None if budget_bytes is None else budget_bytes - others

    places = doubted_places(scene)
    # held while sizes are measured: pages are whole, and more may cost two
    room = {KEY: "-" * (CALIBRATION_BYTES + PLACE_BYTES * len(places))}

    def size_with(plan: VisualPlan) -> int:
        fold_visual(writer, scene, plan, means=means, facts=room)
        return writer.size_bytes() - others

    for _ in range(_TRIES):
        report = begin("Choosing points and codes")
        try:
            planned = plan_for_budget(scene, means, left, read.codecs, read.wanted, size_with=size_with, report=report)
        except BudgetError as error:
            if not others or error.needed_bytes is None:
                raise
            least = f"give at least {others + error.needed_bytes} bytes"
            raise BudgetError(f"beside {others:,} bytes of other layers, {error.message}", least) from error
        report = begin("Calibrating")
        folded = fold_calibrated(
            writer, scene, planned.plan, means=means, errors=planned.errors, places=places, report=report
        )
        over = 0 if left is None else writer.size_bytes() - others - left
        if over <= 0 or left is None:
            break
        left -= over  # a shorter row may lie on pages less well than a longer one
    return ChosenScene(scene, means, read.wanted, planned, folded, read.joined, read.aligned)


def update_scene(updater: FoldUpdater, folder: Path, options: VisualOptions, begin: Begin) -> dict[str, Any]:
    """Fold the tiles again whose points a new scene changes; errors as `update_visual`."""
    scene, _, aligned = read_with_descriptors(folder, options)
    done = update_visual(updater, scene, points=options.points, report=begin("Updating"))
    changed = (done.added + done.lost) / max(done.points, 1)
    before = done.parameters.get(KEY) is not None
    calibration = "kept, of the map before" if before else "none: fold the scene anew for one"
    if changed > RECALIBRATED:
        codec = FoldedVisual(updater.before, LAYER).codec
        found = calibrated(scene, done.plan(codec), report=begin("Calibrating"))
        parameters = {name: value for name, value in done.parameters.items() if name != KEY}
        updater.set_parameters(LAYER, parameters if found is None else {**parameters, KEY: found.to_dict()})
        calibration = "none: the images tell too little" if found is None else "new"
    return {
        "tiles_changed": len(done.changed),
        "tiles_removed": len(done.removed),
        "tiles_kept": done.kept,
        "points": done.points,
        "points_added": done.added,
        "points_lost": done.lost,
        "calibration": calibration,
        **({} if aligned is None else {"aligned": aligned}),
    }


def read_with_descriptors(
    folder: Path, options: VisualOptions
) -> tuple[SceneModel, JoinReport | None, dict[str, Any] | None]:
    """Read the scene with its descriptors, how these were joined to it, and how it was brought into the map's frame."""
    told: list[JoinReport] = []
    extracted = None
    if options.photos is not None:
        from foldmap.visual.features.extract import SiftExtractor
        from foldmap.visual.features.photos import PhotoFeatures

        extracted = PhotoFeatures(options.photos, SiftExtractor(as_colmap=True))
    given: dict[str, Any] = {"global_descriptors": options.globals, "metric": options.metric}
    scene = read_scene(folder, options.features, extracted=extracted, **given, report=told.append)
    aligned = None
    if options.positions is not None or options.align is not None:
        scene, aligned = align_scene(scene, options.positions, options.align)
    return scene, told[0] if told else None, aligned


def codecs_of(
    scene: SceneModel, means: FloatArray, options: VisualOptions, several: bool, begin: Begin
) -> Sequence[DescriptorCodec]:
    """The codecs to choose among, coarse to fine; one where the user said which, or nothing asks for a choice.

    There are ``several`` to choose among where a budget or a curve does.
    """
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
    from foldmap.visual.dpq.train import LayerProgress

    data = descriptors_of(scene)
    if options.codec not in TRAINED:
        fits = [parts for parts in PARTS if options.codec == "additive" or means.shape[1] % parts == 0]
        usual = fits if several else [max(parts for parts in (*fits, 1) if parts <= 16)]
        chosen = [options.parts] if options.parts else usual
        return [fit_codec(data, parts, options.codec, seed=options.seed) for parts in chosen]
    settings = replace(settings_for(options.codec), seed=options.seed)
    if options.epochs is not None:
        settings = replace(settings, epochs=options.epochs)
    report = begin("Training the decoder")

    def drawn(progress: LayerProgress) -> None:
        report(progress.epoch, settings.epochs)

    if options.decoder is not None:
        return [adapted_codec(data, read_layer(options.decoder), settings, report=drawn)]
    return [fit_codec(data, options.parts or DEFAULT_PARTS, options.codec, settings, drawn)]


def _provenance(folder: Path, options: VisualOptions, budget_bytes: int | None) -> dict[str, Any]:
    """What the file says of its making: short, for it counts."""
    said: dict[str, Any] = {"foldmap": __version__, "scene": folder.resolve().name, "select": options.select}
    for key, value in (("alpha", options.alpha), ("budget_bytes", budget_bytes), ("seed", options.seed or None)):
        if value is not None:
            said[key] = value
    return said


def sizes_in(path: Path) -> dict[str, Any]:
    """Sizes of a file with a visual layer, as counted in the file itself."""
    with FoldFile.open(path) as file:
        parameters, used = file.layer(LAYER).parameters, bytes_by_use(file)
        whole = file.byte_report()
    layers = {name: size["tile_bytes"] + sum(size["model_bytes"].values()) for name, size in whole["layers"].items()}
    others = sum(size for name, size in layers.items() if name != LAYER)
    used["overhead"] = whole["overhead_bytes"] + used.pop("headers")
    if others:
        used["other_layers"] = others
    return {
        "points": parameters["points"],
        "images": parameters["images"],
        "bytes": used,
        "bytes_a_point": round((whole["file_bytes"] - others) / parameters["points"], 3),
    }
