"""Files into one: layers of other names beside each other, those of one name joined tile by tile."""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

from foldmap.api.georeference import require_one_place
from foldmap.api.reshaping.kinds import kind_of
from foldmap.api.reshaping.parts import FIRST, LAST, Note, Part, Source
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.atlas.drawn import Drawn
from foldmap.errors import ConfigError, MapInputError


def merge(
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    prefer: str | None = None,
    note: Note = lambda message: None,
) -> dict[str, Any]:
    """Put files together; tiles are as they were, bit for bit, and read once, when the new file is written.

    Args:
        paths: the files; of one, the same map as foldmap writes it here.
        output: the new file.
        prefer: ``first`` or ``last``: which of two files counts where both have a tile or a region and they differ.
        note: called with what a user should know.

    Returns:
        ``file``, ``file_bytes``; by layer ``tiles``, and ``from``, how many files have it.

    Raises:
        MapInputError: layers do not go together, or lie at different places on Earth; names what differs, and the cure.
    """
    if prefer not in (None, FIRST, LAST):
        raise ConfigError(f"--prefer {prefer}", "give first or last")
    if not paths:
        raise ConfigError("there is nothing to merge", "give .fold files")
    output = Path(output)
    with ExitStack() as opened:
        files = [opened.enter_context(FoldFile.open(path)) for path in paths]
        require_one_place(files)
        layers: dict[str, list[Source]] = {}
        for file in files:
            for layer in file.layers():
                layers.setdefault(layer.name, []).append(Source(file, layer.name))
        parts = {name: _joined(sources, prefer, note) for name, sources in layers.items()}
        _require_one_frame([source for sources in layers.values() for source in sources], note)
        with FoldWriter(output) as writer:
            for key, value in _metadata(files, prefer, note).items():
                writer.put_metadata(key, value)
            for name, part in parts.items():
                part.write(writer, name)
            writer.commit()
    said = {name: {"tiles": part.kept, "from": len(layers[name])} for name, part in parts.items()}
    return {"file": output, "file_bytes": output.stat().st_size, **said}


def _require_one_frame(sources: Sequence[Source], note: Note) -> None:
    """Refuse streets in another frame than the raster of another file; where one has no crs, that is noted."""
    from foldmap.formats.crs import same_crs

    framed = [(each, frame) for each in sources for frame in kind_of(each).frames(each)]
    rasters = {each.file.path: (each, frame) for each, frame in framed if "grid" in each.parameters}
    streets = [(each, frame) for each, frame in framed if "regions" in each.parameters]
    for (raster, mine), (street, theirs) in product(rasters.values(), streets):
        if raster.file is street.file or same_crs(mine, theirs):
            continue
        if mine and theirs:
            what = f"{street.said} is in another frame ({theirs[:60]}) than {raster.said}"
            raise MapInputError(what, "fold both sources together: streets are brought into the raster's frame")
        local, known = (street, raster) if mine else (raster, street)
        note(f"{local.file.path.name} names no crs, and is taken to be in that of {known.file.path.name}")


def _joined(sources: Sequence[Source], prefer: str | None, note: Note) -> Part:
    kinds = [source.file.layer(source.layer).kind for source in sources]
    if len(sources) == 1:
        whole = Drawn(sources[0].file, sources[0].layer)
        return Part(kinds[0], sources[0].parameters, [whole], kept=len(whole))
    for source, kind in zip(sources[1:], kinds[1:], strict=True):
        if kind != kinds[0]:
            what = f"{source.said} is a {kind} layer, {sources[0].said} a {kinds[0]} layer"
            raise MapInputError(what, "fold one of them under its usual name")
    return kind_of(sources[0]).join(sources, prefer, note)


def _metadata(files: Sequence[FoldFile], prefer: str | None, note: Note) -> dict[str, Any]:
    """What all files say, of two values the first, or the last where that is preferred; and which files there were."""
    order = list(files) if prefer == LAST else list(files)[::-1]
    found: dict[str, Any] = {}
    for file in order:
        found |= file.metadata()
    said = [(key, value) for file in files for key, value in file.metadata().items()]
    other = sorted({key for key, value in said if value != found[key]})
    if other:
        note(f"of {', '.join(other)} the {prefer or FIRST} file's is kept")
    if len(files) > 1:
        found["merged"] = [{"file": file.path.name, "seal": file.seal.hex()} for file in files]
    return found
