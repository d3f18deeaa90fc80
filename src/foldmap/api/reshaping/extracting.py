"""A part of a map as a map of its own: the tiles of all layers in reach of a box or a drive."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.kinds import kind_of
from foldmap.api.reshaping.parts import Note, Part, Source
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import ConfigError, MapInputError


def extract(
    path: Path | str,
    area: Area,
    output: Path | str | None,
    *,
    layers: Sequence[str] = (),
    note: Note = lambda message: None,
) -> dict[str, Any]:
    """Write the tiles of a file that an area reaches into a file of its own; they are as they were, bit for bit.

    Args:
        path: the file.
        area: in the frame of its layers.
        output: the new file; None: nothing is written, what it would take is told.
        layers: their names, where not all are wanted.
        note: called with what a user should know.

    Returns:
        ``file``, ``file_bytes`` (of the new file), ``of_bytes``; by layer ``tiles`` and ``of_tiles``.

    Raises:
        MapInputError: nothing is in reach, or the layers are in different frames.
        LayerError: no such layer.
    """
    with FoldFile.open(path) as file:
        sources = [Source(file, layer) for layer in (layers or [one.name for one in file.layers()])]
        if len({source.layer for source in sources}) < len(sources):
            raise ConfigError(f"a layer is named twice: {', '.join(layers)}", "name each once")
        _require_one_frame(sources)
        parts = {source.layer: kind_of(source).cut(source, area, note) for source in sources}
        for layer, part in parts.items():
            if not part.kept:
                note(f"layer {layer} has nothing there and is left out")
        there = {layer: part for layer, part in parts.items() if part.kept}
        if not there:
            cure = "give places in the map's frame; foldmap show says where the map is"
            raise MapInputError(f"{path} has nothing in reach of {area.said}", cure)
        made = {"file": file.path.name, "seal": file.seal.hex(), **area.said}
        if output is not None:
            size = _write(Path(output), file, there, made, keep=True)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                size = _write(Path(scratch) / "part.fold", file, there, made, keep=False)
        said = {layer: {"tiles": part.kept, "of_tiles": part.of} for layer, part in parts.items()}
        return {"file": output, "file_bytes": size, "of_bytes": file.size_bytes(), **said}


def _require_one_frame(sources: Sequence[Source]) -> None:
    found = {frame: source.layer for source in sources for frame in kind_of(source).frames(source)}
    if len(found) > 1 and not _one_frame(list(found)):
        (one, layer), (other, second) = list(found.items())[:2]
        what = f"layers {layer} and {second} are in different frames: {_name(one)} and {_name(other)}"
        raise MapInputError(what, "take one layer at a time (--layer), or fold them in one frame")


def _one_frame(frames: Sequence[str]) -> bool:
    """Whether texts of coordinate reference systems say the same; a local frame is none of them."""
    from foldmap.formats.crs import same_crs

    return all(same_crs(frames[0], other) for other in frames[1:])


def _name(frame: str) -> str:
    return frame[:60] or "a local frame"


def _write(output: Path, file: FoldFile, parts: dict[str, Part], made: dict[str, Any], *, keep: bool) -> int:
    with FoldWriter(output) as writer:
        for key, value in file.metadata().items():
            writer.put_metadata(key, value)
        writer.put_metadata("extracted", made)
        for layer, part in parts.items():
            part.write(writer, layer)
        if keep:
            writer.commit()
            return output.stat().st_size
        size = writer.size_bytes()
        writer.close()
        return size
