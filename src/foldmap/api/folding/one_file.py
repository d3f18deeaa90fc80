"""Sources of any kinds into one file, whole or not at all, within one budget."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from foldmap.api.folding.kept_parts import forget_parts
from foldmap.api.folding.options import (
    Begin,
    Beside,
    LidarOptions,
    Note,
    StreetOptions,
    VisualOptions,
    refuse_in_update,
)
from foldmap.api.folding.sources import LAYERS, RASTER, SCENE, STREET, kinds_of_sources
from foldmap.api.georeference import ANCHOR, crs_of, refuse_anchor_beside
from foldmap.atlas import FoldUpdater, FoldWriter
from foldmap.atlas.whole import file_identity, files_below, together
from foldmap.errors import ConfigError, MapFormatError
from foldmap.geometry import MetricGrid
from foldmap.geometry.geopose import Anchor
from foldmap.runtime.crew import Crew

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_ALONE = Crew(workers=1)
Options = tuple[LidarOptions, VisualOptions, StreetOptions]


def fold(
    sources: Sequence[Path | str] | Mapping[str, Sequence[Path | str]] | Path | str,
    output: Path | str,
    *,
    budget: str | int | None = None,
    into: bool = False,
    update: bool = False,
    lidar: LidarOptions | None = None,
    visual: VisualOptions | None = None,
    street: StreetOptions | None = None,
    anchor: Anchor | None = None,
    crew: Crew = _ALONE,
    note: Note = lambda message: None,
    report: Begin = lambda doing: lambda done, total: None,
    beside: Beside = lambda layers: None,
) -> dict[str, Any]:
    """Fold maps of any kinds into one file: rasters its lidar layer, a scene its visual, street maps its street layer.

    The file appears, or changes, only when all of it is done. Its budget is shared so: streets take what they take, as
    does what is in the file already. What is left is shared in proportion to what raster and scene take without a
    budget: the raster gets the code that does best on it where both fit, else the first leaner one within its share
    (the leanest may exceed it); the scene fills the rest, by measured trials. Alone, each may take all.

    Args:
        sources: GeoTIFFs (of one grid: they are one map), a scene (COLMAP, kapture or of ``foldmap build visual``),
            street maps; files and folders. What they are their content tells, or a dictionary by kind: ``"raster"``,
            ``"scene"``, ``"street"``.
        output: the .fold file.
        budget: most bytes of the whole file on disk, like ``"1MB"``.
        into: the file is there: its layers of these kinds are added or replaced whole, the others stay.
        update: the file is there: of its layers only the tiles are folded again whose source changed, with the models
            and settings of the file; street maps replace regions of their names.
        lidar: what to say about rasters.
        visual: about scenes.
        street: about street maps.
        anchor: where the origin of the map's local frame lies on Earth; a ConfigError where the map has a crs. A file
            that is added to or updated keeps its own where none is given.
        crew: who codes a raster's tiles: this process, many, or a cluster. What is written is the same.
        note: called with what a user should know.
        report: called with the name of a kind of work; gives what is called with steps done and in all.
        beside: called with the layers' dictionaries once the file is whole; what it writes by `atlas.whole` appears
            with the file, or neither does. Not of an update.

    Returns:
        ``file``, ``file_bytes``, ``seconds``, and a dictionary for each layer by its name.

    Raises:
        BudgetError: the budget holds no such map; the file is left as it was.
        FoldmapError: what was brought cannot be used.
    """
    started_s = time.perf_counter()
    output = Path(output)
    if isinstance(sources, Mapping):
        found: dict[str, list[Path]] = {}
        for kind, paths in sources.items():
            found |= kinds_of_sources([Path(one) for one in paths], kind)
    else:
        found = kinds_of_sources([Path(one) for one in ([sources] if isinstance(sources, Path | str) else sources)])
    budget_bytes = parse_size(budget) if isinstance(budget, str) else budget
    options = lidar or LidarOptions(), visual or VisualOptions(), street or StreetOptions()
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}", "make it first")
    _refuse_over_inputs(output, found, options)
    if (into or update) and not output.is_file():
        raise MapFormatError(f"there is no file {output}", "check the path")
    if update:
        if into or budget is not None:
            raise ConfigError("an update keeps the file's model and settings", "leave --budget and --into out")
        with FoldUpdater(output) as updater:
            layers = _update(updater, found, options, note, report)
            _put_anchor(updater, anchor)
    else:
        layers = _fold(output, found, budget_bytes, into, options, anchor, crew, note, report, beside)
    seconds = round(time.perf_counter() - started_s, 2)
    return {"file": str(output), "file_bytes": output.stat().st_size, "seconds": seconds, **layers}


def _refuse_over_inputs(output: Path, found: Mapping[str, Sequence[Path]], options: Options) -> None:
    """Check that the file is none of those that are read, by whatever name. Of folders no .fold file is read."""
    there = file_identity(output)
    said = [getattr(one, field.name) for one in options for field in fields(one) if field.name != "curve"]
    for path in [*(one for paths in found.values() for one in paths), *(one for one in said if isinstance(one, Path))]:
        inside = (one for one in files_below(path) if one.suffix != ".fold") if path.is_dir() else (path,)
        if there is not None and any(file_identity(one) == there for one in inside):
            raise ConfigError(f"the output {output} is also read as {path}", "choose another name for the output")


def _fold(
    output: Path,
    found: dict[str, list[Path]],
    budget_bytes: int | None,
    into: bool,
    options: Options,
    anchor: Anchor | None,
    crew: Crew,
    note: Note,
    report: Begin,
    beside: Beside,
) -> dict[str, Any]:
    lidar, visual, street = options
    layers: dict[str, Any] = {}
    chosen = None
    with FoldUpdater(output) if into else FoldWriter(output) as writer:
        if isinstance(writer, FoldUpdater):
            for layer in {LAYERS[kind] for kind in found} & set(writer.layers):
                writer.remove_layer(layer)
        _put_anchor(writer, anchor)
        if STREET in found:
            from foldmap.api.folding.streets import fold_streets

            grid = _grid_beside(writer, found.get(RASTER, []))
            layers["street"] = fold_streets(writer, found[STREET], street, note, report("Folding streets"), grid)
        scene = None
        if SCENE in found:
            from foldmap.api.folding.scenes import fold_scene, read_for_folding

            scene = read_for_folding(found[SCENE][0], visual, budget_bytes is not None, report)
        if RASTER in found:
            from foldmap.api.folding.rasters import fold_rasters

            others = scene.default_bytes() if scene is not None and budget_bytes is not None else 0
            limits = budget_bytes, others
            layers["lidar"] = fold_rasters(writer, found[RASTER], lidar, limits, note, report("Folding"), crew=crew)
        if scene is not None:
            chosen = fold_scene(writer, scene, visual, budget_bytes, report)
        _put_anchor(writer, anchor)
        with together():
            writer.commit(budget_bytes)
            if chosen is not None:
                from foldmap.api.folding.scenes import sizes_in

                layers["visual"] = {**sizes_in(writer.waiting), **chosen.summary()}
            beside(layers)
    forget_parts(output)
    if RASTER in found and lidar.curve is not None:
        from foldmap.api.folding.trials import write_trials

        write_trials(lidar.curve, output, layers["lidar"])
    if chosen is not None and visual.curve is not None:
        from foldmap.api.folding.tradeoff import write_tradeoff

        write_tradeoff(visual.curve, chosen, visual, budget_bytes or output.stat().st_size, report)
    return layers


def _grid_beside(writer: FoldWriter, rasters: Sequence[Path]) -> MetricGrid | None:
    """Where the first raster that is folded lies, else the lidar layer of the file; None where there is none."""
    if rasters:
        from foldmap.formats.raster.geotiff import raster_grid

        return raster_grid(rasters[0])
    return MetricGrid(**writer.parameters("lidar")["grid"]) if "lidar" in writer.layers else None


def _put_anchor(writer: FoldWriter, anchor: Anchor | None) -> None:
    """Anchor a file that has no crs; without an anchor check the one that it has. Called first, its bytes are counted.

    Raises:
        ConfigError: a layer has a crs.
    """
    if anchor is not None:
        writer.put_metadata(ANCHOR, asdict(anchor))
    if ANCHOR in writer.metadata:
        refuse_anchor_beside(crs_of(writer.parameters(layer) for layer in writer.layers), writer.path.name)


def _update(
    updater: FoldUpdater, found: dict[str, list[Path]], options: Options, note: Note, report: Begin
) -> dict[str, Any]:
    lidar, visual, street = options
    layers: dict[str, Any] = {}
    if STREET in found:
        from foldmap.api.folding.streets import update_streets

        refuse_in_update(street)
        layers["street"] = update_streets(updater, found[STREET], street, note, report("Updating streets"))
    if RASTER in found:
        from foldmap.api.folding.rasters import update_rasters

        refuse_in_update(lidar)
        layers["lidar"] = update_rasters(updater, found[RASTER], lidar, report("Updating"))
    if SCENE in found:
        from foldmap.api.folding.scenes import update_scene

        refuse_in_update(visual)
        layers["visual"] = update_scene(updater, found[SCENE][0], visual, report)
    return layers


def parse_size(text: str) -> int:
    """Read a size: ``1MB``, ``300 kB``, ``2MiB``, ``250000``.

    Raises:
        ConfigError: it is no positive size.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS or float(match[1]) <= 0:
        raise ConfigError(f"{text!r} is no size", "write it like 1MB, 300kB or 250000")
    return int(float(match[1]) * _UNITS[match[2].lower()])
