"""``foldmap fold`` of a scene: chosen points, quantized descriptors, and what finds them again, within a budget."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import require_file, require_folder, save_settings
from foldmap.cli.fold.scene_options import SceneOptions, codecs_of
from foldmap.errors import BudgetError

if TYPE_CHECKING:
    from foldmap.localize.visual.plan import Planned, PlanOptions
    from foldmap.types import FloatArray
    from foldmap.visual.codes.codecs import DescriptorCodec
    from foldmap.visual.scene.join import JoinReport
    from foldmap.visual.source import SceneModel

Report = Callable[[int, int], None]
_TRIES = 6


def fold_scene_folder(
    scene_folder: Path,
    output: Path,
    options: SceneOptions,
    *,
    budget_bytes: int | None = None,
    into: bool = False,
    report_folder: Path | None = None,
    report: Callable[[str], Report] = lambda doing: lambda done, total: None,
) -> dict[str, Any]:
    """Fold a scene; the command without its printing.

    Args:
        scene_folder: of ``foldmap build visual``, a COLMAP model, or kapture.
        output: the .fold file; its settings are written beside it.
        options: see there.
        budget_bytes: most bytes of the whole file on disk.
        into: ``output`` is there already: its visual layer is added or replaced, the rest stays.
        report_folder: where the trade-off curve goes.
        report: gives a callback ``(done, total)`` for a kind of work.

    Returns:
        The summary that the command prints.

    Raises:
        BudgetError: the budget holds no map; the output is left as it was.
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.localize.visual.plan import PlanOptions
    from foldmap.visual.scene.average import track_means

    started_s = time.perf_counter()
    options.check(budget_bytes is not None)
    require_folder(output)
    if into:
        require_file(output)
    scene, joined = read(scene_folder, options)
    means = track_means(scene)
    codecs = codecs_of(scene, means, options, budget_bytes is not None, report)
    settings = {"alpha": options.alpha} if options.alpha is not None else {}
    # global descriptors are for retrieval: who gives them wants the map searched by image
    images = True if options.globals is not None else options.images
    wanted = PlanOptions(options.points, options.select, settings, options.error_px, images, seed=options.seed)
    metadata = provenance(scene_folder, options, budget_bytes)
    planned, folded = _write_to_fit(
        scene, means, codecs, wanted, output, into, budget_bytes, metadata, report("Choosing points and codes")
    )
    if report_folder is not None:
        from foldmap.cli.fold.report import write_report

        candidates = codecs_of(scene, means, options, True, report)
        size = budget_bytes or output.stat().st_size
        write_report(report_folder, scene, means, candidates, wanted, size, planned, report("Trade-off curve"))
    chosen = {"points": len(planned.plan.kept), **planned.plan.codec.parameters()}
    asked = {**options.__dict__, "scene": scene_folder, "budget_bytes": budget_bytes, "into": into}
    save_settings(output, "fold", {**asked, "chosen": chosen})
    return {
        "file": str(output),
        **summary_of(output),
        "codec": planned.plan.codec.parameters(),
        "error_px": round(folded.error_px, 4),
        "noise_px": round(folded.noise_px, 4),
        "points_of_scene": len(scene.points_world),
        "observations_joined": None if joined is None else round(joined.fraction, 4),
        "seconds": round(time.perf_counter() - started_s, 2),
    }


def read(scene_folder: Path, options: SceneOptions) -> tuple[SceneModel, JoinReport | None]:
    """Read the scene with its descriptors, and how these were joined to it."""
    from foldmap.formats.scenes import read_scene

    told: list[JoinReport] = []
    extracted = None
    if options.photos is not None:
        from foldmap.visual.features.extract import SiftExtractor
        from foldmap.visual.features.photos import PhotoFeatures

        extracted = PhotoFeatures(options.photos, SiftExtractor(as_colmap=True))
    scene = read_scene(
        scene_folder,
        options.features,
        extracted=extracted,
        global_descriptors=options.globals,
        metric=options.metric,
        report=told.append,
    )
    return scene, told[0] if told else None


def provenance(scene_folder: Path, options: SceneOptions, budget_bytes: int | None) -> dict[str, Any]:
    """What the file says of its making: short, for it counts."""
    from foldmap import __version__

    said: dict[str, Any] = {"foldmap": __version__, "scene": scene_folder.resolve().name, "select": options.select}
    for key, value in (("alpha", options.alpha), ("budget_bytes", budget_bytes), ("seed", options.seed or None)):
        if value is not None:
            said[key] = value
    return {"visual": said}


def _write_to_fit(
    scene: SceneModel,
    means: FloatArray,
    codecs: Sequence[DescriptorCodec],
    wanted: PlanOptions,
    output: Path,
    into: bool,
    budget_bytes: int | None,
    metadata: dict[str, Any],
    report: Report,
) -> tuple[Planned, Any]:
    """Plan and fold until the file fits; it is put in place only then."""
    from foldmap.atlas import FoldUpdater, FoldWriter
    from foldmap.atlas.schema import PAGE_SIZE
    from foldmap.localize.visual.plan import plan_for_budget
    from foldmap.visual.fold import LAYER, fold_scene

    taken = _beside(output) if into and budget_bytes is not None else 0
    for _ in range(_TRIES):
        left = None if budget_bytes is None else budget_bytes - taken
        if left is not None and left <= 0:
            raise BudgetError(f"the other layers of {output} take about {taken:,} bytes", "allow more")
        try:
            planned = plan_for_budget(scene, means, left, codecs, wanted, metadata=metadata, report=report)
        except BudgetError as error:
            if not taken:
                raise
            raise BudgetError(f"beside {taken:,} bytes of other layers, {error.message}", error.cure) from error
        writer = FoldUpdater(output) if into else FoldWriter(output)
        try:
            with writer:
                if isinstance(writer, FoldUpdater) and _has(output, LAYER):
                    writer.remove_layer(LAYER)
                folded = fold_scene(scene, means, writer, planned.plan)
                for key, value in metadata.items():
                    writer.put_metadata(key, value)
                writer.commit(budget_bytes)
            return planned, folded
        except BudgetError as error:
            if error.needed_bytes is None or budget_bytes is None:
                raise
            # files grow by whole pages: a smaller step might change nothing
            taken += -(-(error.needed_bytes - budget_bytes) // PAGE_SIZE) * PAGE_SIZE
    raise BudgetError(f"no file of {budget_bytes} bytes was found", "allow a little more")


def _has(path: Path, layer: str) -> bool:
    from foldmap.atlas import FoldFile

    with FoldFile.open(path) as file:
        return layer in {there.name for there in file.layers()}


def _beside(path: Path) -> int:
    """Bytes that a file would have without its visual layer, less those that any file has."""
    import shutil

    from foldmap.atlas import FoldUpdater, FoldWriter
    from foldmap.visual.fold import LAYER

    with tempfile.TemporaryDirectory() as folder:
        rest, empty = Path(folder) / "rest.fold", Path(folder) / "empty.fold"
        shutil.copyfile(path, rest)
        if _has(rest, LAYER):
            with FoldUpdater(rest) as updater:
                updater.remove_layer(LAYER)
        with FoldWriter(empty) as writer:
            writer.add_layer(LAYER, "visual", {})
        return max(0, rest.stat().st_size - empty.stat().st_size)


def summary_of(path: Path) -> dict[str, Any]:
    """Sizes of a file with a visual layer, as counted in the file itself."""
    from foldmap.atlas import FoldFile
    from foldmap.visual.accounting import bytes_by_use
    from foldmap.visual.fold import LAYER

    with FoldFile.open(path) as file:
        parameters, used = file.layer(LAYER).parameters, bytes_by_use(file)
        whole = file.byte_report()
        others = sum(
            layer["tile_bytes"] + sum(layer["model_bytes"].values())
            for name, layer in whole["layers"].items()
            if name != LAYER
        )
    used["overhead"] = whole["overhead_bytes"] + used.pop("headers")
    if others:
        used["other_layers"] = others
    return {
        "file_bytes": whole["file_bytes"],
        "points": parameters["points"],
        "images": parameters["images"],
        "bytes": used,
        "bytes_a_point": round((whole["file_bytes"] - others) / parameters["points"], 3),
    }
