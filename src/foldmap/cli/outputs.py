"""No output of a command may be one of its inputs: the one check, made before any work."""

import glob
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.errors import ConfigError

_ALONE = ("{}",)
_TOLD = ("{}", "{}.settings.json")
_PAGES = ("{}/*.html", "{}/*.json", "{}/*.csv", "{}/*.svg", "{}/*.png")
_RUN = ("{}/model.safetensors*", "{}/checkpoint*", "{}/curve.*", "{}/train.settings.json", "{}/log.jsonl")
_TRIALS = ("{}/raster.html", "{}/raster.json", "{}/raster.svg")
_KEPT = ("{}/answers/**/*", "{}/training/**/*", "{}/kept/**/*")

WRITTEN: dict[str, dict[str, tuple[str, ...]]] = {
    "demo": {"output": (*_PAGES, "{}/map.tif", "{}/map.fold", "{}/estimates.txt", "{}/estimates.txt.jsonl")},
    "build lidar": {"output": (*_TOLD, "{stem}.png", "{}.poses.txt"), "fold": _TOLD, "report": _TRIALS},
    "build visual": {"output": ("{}/sparse/**/*", "{}/features.h5", "{}/scene.png", "{}/scene.json")},
    "train lidar": {"output": _RUN},
    "train street": {"output": _RUN},
    "train visual": {"output": _RUN},
    "fold": {
        "output": _TOLD,
        "into": _TOLD,
        "update": _ALONE,
        "report": ("{}/index.html", "{}/curve.json", "{}/curve.svg", *_TRIALS),
    },
    "localize": {
        "output": (*_TOLD, "{}.jsonl", "{}.tum", "{}/estimates*", "{}/kitti*.txt", "{}/poses.mcap*", "{}/geopose*"),
        "picture": _ALONE,
    },
    "evaluate": {"plot": _ALONE},
    "calibrate": {"output": _ALONE},
    "report": {"output": _ALONE},
    "view": {"output": _ALONE},
    "show": {"codes": _ALONE, "embedding": _ALONE, "picture": _ALONE},
    "verify": {},
    "unfold": {"output": _ALONE},
    "export": {"output": ("{}/*.onnx", "{}/device.json")},
    "merge": {"output": _ALONE},
    "extract": {"output": _ALONE},
    "diff": {"output": _ALONE},
    "patch": {"output": _ALONE},
    "serve": {},
    "street retrieve": {"output": _TOLD, "geojson": _ALONE, "picture": _ALONE},
    "street update": {"output": _TOLD},
    "street expand": {"output": _TOLD},
    "street map2pix": {"output": _TOLD, "picture": _ALONE},
    "bench lidar": {"output": (*_PAGES, *_KEPT)},
    "bench visual": {"output": (*_PAGES, *_KEPT)},
    "bench street": {"output": (*_PAGES, *_KEPT)},
    "bench trust": {"output": _PAGES},
}
"""Of each command the parameters that name what is written, and which files that makes: ``{}`` is the path that was
given, ``{stem}`` the same without its suffix; patterns stand for what is there. Every other path is read."""

TEXT_THAT_NAMES_FILES = {"sweeps": (), "matching": ("exhaustive", "sequential")}
"""Parameters that are no `Path`, but name files to read, unless they are one of these words."""

_BESIDE = ("{}.jsonl", "{}.aux.xml", "{}.ovr", "{}.msk", "{}-wal", "{stem}.tfw", "{stem}.prj", "{dir}/index.json")
"""Files that readers look for beside the one that was named."""

_DRAWN = frozenset((".png", ".svg", ".jpg", ".jpeg", ".webp", ".gif", ".pdf"))
_DRAWN_AS = {"plot": ".svg", "picture": ".png", "codes": ".png", "embedding": ".png"}
_PICTURES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"))
_SWEEPS = frozenset((".las", ".laz", ".pcd", ".bin", ".ply"))
_BAGS = frozenset((".mcap", ".bag", ".db3"))
_ONLY = {
    "sweeps": _SWEEPS,
    "images": _PICTURES,
    "photos": _PICTURES,
    "observations": _PICTURES | _SWEEPS | _BAGS | {".npz", ".vrt", ".csv", ".json", ".feather"},
}
"""What is read of folders, by parameter; of others anything but what no reader reads."""
_NEVER = frozenset((".fold", ".svg", ".html"))
_NO_PICTURES = (
    "poses",
    "odometry",
    "gps",
    "truth",
    "estimates",
    "queries",
    "ring",
    "prior",
    "drive",
    "features",
    "model",
    "weights",
)


@dataclass(frozen=True)
class Named:
    """A parameter with the path that it was given; the label is what the user calls it, like ``--plot``."""

    name: str
    label: str
    path: Path


def refuse_to_overwrite(command: str, outputs: list[Named], inputs: list[Named]) -> None:
    """Check that nothing that a command will write is something that it will read, or is written twice.

    Files are told apart by what they are, not by how they are spelled: another spelling, a symbolic or a hard link is
    the same file. Files of a folder that is read count as read, where they have a suffix that is read there; what the
    same command wrote there before does not. Inputs may be glob patterns.

    Raises:
        ConfigError: names the output and the input, a folder that is missing or stands in the place of a file, "-",
            which is no file, or a picture of another kind than is drawn.
    """
    from foldmap.atlas.whole import file_identity

    for one in outputs:
        if str(one.path) == "-":
            raise ConfigError(f"{one.label} - is no file", "name one; --json prints the summary")
        patterns, suffix = WRITTEN[command][one.name], one.path.suffix.lower()
        if patterns[0] == "{}" and not one.path.parent.is_dir():
            raise ConfigError(f"there is no folder {one.path.parent}", "make it first")
        if one.path.is_dir() and not any(pattern.startswith("{}/") for pattern in patterns):
            raise ConfigError(f"{one.label} {one.path} is a folder", "give a file name")
        if suffix in _DRAWN and suffix != (drawn := _DRAWN_AS.get(one.name, suffix)):
            raise ConfigError(f"{one.label} {one.path} is drawn as {drawn[1:].upper()}", f"name it {drawn}")
    made = [(one, path) for one in outputs for path in _files_of(one.path, WRITTEN[command][one.name])]
    _refuse_twice(made)
    there = {found: (one, path) for one, path in made if (found := file_identity(path)) is not None}
    for source in inputs if there else []:
        for read, inside in _read_by(source, command):
            output, path = there.get(file_identity(read) or (-1, -1), (None, read))
            if output is not None:
                would = "" if path == output.path else f" would write {path}, which"
                where = f"lies in {source.path}, which is read as" if inside else "is also read as"
                raise ConfigError(
                    f"{output.label} {output.path}{would} {where} {source.label}",
                    f"choose another name for {output.label}",
                )


def _refuse_twice(made: list[tuple[Named, Path]]) -> None:
    """Check that two outputs are not one file, which need not be there yet."""
    from foldmap.atlas.whole import file_identity

    taken: dict[object, Named] = {}
    for one, path in made:
        if path.exists() and not path.is_file() and not path.is_dir():
            continue  # a device, like /dev/null, takes any number of outputs
        keys = {os.path.normcase(os.path.realpath(path)), file_identity(path)} - {None}
        other = next((taken[key] for key in keys if key in taken and taken[key] is not one), None)
        if other is not None:
            raise ConfigError(f"{one.label} and {other.label} would both write {path}", "give them different names")
        taken |= dict.fromkeys(keys, one)


def _files_of(path: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """Files that an output stands for; of patterns those that are there."""
    for pattern in patterns:
        if "*" not in pattern:
            yield _named(pattern, path)
        elif path.is_dir():
            yield from (found for found in path.glob(pattern.removeprefix("{}/")) if found.is_file())


def _named(pattern: str, path: Path) -> Path:
    text = pattern.replace("{dir}", str(path.parent)).replace("{stem}", str(path.parent / path.stem))
    return Path(text.replace("{}", str(path)))


def _read_by(source: Named, command: str) -> Iterator[tuple[Path, bool]]:
    """Files that an input stands for, and whether they are there because their folder was named."""
    from foldmap.atlas.whole import files_below

    paths = [source.path]
    if not source.path.exists() and glob.has_magic(str(source.path)):
        paths = [Path(found) for found in glob.glob(str(source.path), recursive=True)]
    for path in paths:
        if path.is_dir():
            yield from ((found, True) for found in files_below(path) if _is_read(found, source.name, command))
        else:
            yield path, False
            yield from ((_named(pattern, path), False) for pattern in _BESIDE)


def _is_read(file: Path, name: str, command: str) -> bool:
    suffix = file.suffix.lower()
    never = _NEVER | _PICTURES if name in _NO_PICTURES else _NEVER
    read = suffix in _ONLY[name] if name in _ONLY else suffix not in never
    return read and not _written_before(file, command)


def _written_before(file: Path, command: str) -> bool:
    """Whether the settings beside a file say that this command wrote it."""
    own = str(file).removesuffix(".settings.json")
    for main in (own, own.removesuffix(".jsonl").removesuffix(".tum")):
        try:
            said = json.loads(Path(f"{main}.settings.json").read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and said.get("command") == command:
            return True
    return False


def named_paths(command: str, given: Mapping[str, tuple[str, Any]]) -> tuple[list[Named], list[Named]]:
    """Sort the paths that a command was given into what it writes and what it reads; label and value by name."""
    outputs: list[Named] = []
    inputs: list[Named] = []
    for name, (label, value) in given.items():
        values = value if isinstance(value, list | tuple) else [value]
        paths = [one for one in values if isinstance(one, Path)]
        if name in TEXT_THAT_NAMES_FILES and value not in (None, *TEXT_THAT_NAMES_FILES[name]):
            paths = [Path(value)]
        chosen = outputs if name in WRITTEN[command] else inputs
        chosen += [Named(name, label, path) for path in paths]
    return outputs, inputs
