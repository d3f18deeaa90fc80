"""Outputs that are inputs: commands are asked to write over each file that they read, by every spelling of its name."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.cases.lidar import DRIVE
from benchmarks.cases.rows import PROLOGUE, python
from benchmarks.cases.street import TOWN
from benchmarks.cases.worker import Commands
from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, at_most

SCENE = """s=Scene(n_pts=300); q=[4,9]; s.txt('sc',s.split(q)); s.h5('f.h5',range(14))
s.queries('q.txt',q); s.truth('t.txt',q); s.truth('e.txt',q)
"""
BUILD = "build lidar out/sweeps --poses out/truth.txt --resolution 0.33"
CROP = """from PIL import Image
Image.fromarray(np.random.default_rng(0).integers(0,255,(64,64,3),np.uint8)).save('crop.png')
"""

GROUPS: tuple[tuple[str, str, tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]], ...] = (
    (
        "visual",
        SCENE,
        ("fold sc -o v.fold --features f.h5",),
        (
            ("fold sc --features f.h5 -o {}", ("f.h5", "sc/cameras.txt", "sc/images.txt", "sc/points3D.txt")),
            ("localize v.fold --queries q.txt --features f.h5 -o {}", ("v.fold", "q.txt", "f.h5")),
            ("evaluate e.txt t.txt --plot {}", ("e.txt", "t.txt")),
            ("unfold v.fold -o {}", ("v.fold",)),
        ),
    ),
    (
        "lidar-street",
        DRIVE,
        (BUILD + " -o m.tif", "fold m.tif -o r.fold"),
        (
            (BUILD + " -o {}", ("out/truth.txt", "out/sweeps/000000.bin")),
            ("fold m.tif -o {}", ("m.tif",)),
            ("localize r.fold out/sweeps --poses out/truth.txt -o {}", ("r.fold", "out/truth.txt")),
            ("evaluate out/truth.txt out/truth.txt --plot {}", ("out/truth.txt",)),
            ("unfold r.fold -o {}", ("r.fold",)),
        ),
    ),
    (
        "lidar-street",
        TOWN + CROP,
        ("fold town.geojson -o s.fold",),
        (
            ("fold town.geojson --embeddings none -o {}", ("town.geojson",)),
            ("unfold s.fold -o {}", ("s.fold",)),
            ("street retrieve s.fold crop.png -o {}", ("s.fold", "crop.png")),
            ("street retrieve s.fold crop.png -o found.jsonl --geojson {}", ("s.fold", "crop.png")),
            ("street retrieve s.fold crop.png -o found.jsonl --picture {}", ("s.fold", "crop.png")),
        ),
    ),
)  # fmt: skip
"""Group of generators, script, commands before, and commands with their output left open and what they read."""


def spellings(folder: Path, name: str) -> Iterator[str]:
    """Names of one file: as it is, absolute, in a roundabout way, by a link and by a hard link."""
    file = folder / name
    yield name
    yield str(file)
    yield f"{file.parent.relative_to(folder)}/../{file.parent.name}/{file.name}" if "/" in name else f"./{name}"
    links = Path(tempfile.mkdtemp(dir=folder, prefix="links-"))
    (links / f"soft{file.suffix}").symlink_to(file)
    yield str(links / f"soft{file.suffix}")
    os.link(file, links / f"hard{file.suffix}")
    yield str(links / f"hard{file.suffix}")


def state(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Digests of files; of one that is gone, nothing."""
    files = [folder / name for name in names]
    return tuple(hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "" for file in files)


@dataclass(frozen=True)
class Outputs:
    """Row 4: inputs that a command changed when it was told to write over them."""

    number: ClassVar[int] = 4
    name: ClassVar[str] = "outputs"
    title: ClassVar[str] = "outputs that are inputs"
    least_tried: int = 100

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`; the generators lie in ``board.data``."""
        if not board.data.is_dir():
            raise RowSkipped(f"skipped: no cases at {board.data}")
        tried = 0
        lost: list[str] = []
        with Commands() as commands:
            for group, script, before, pairs in GROUPS:
                with tempfile.TemporaryDirectory(prefix="foldmap-outputs-") as scratch:
                    for path in (board.data / group).glob("*.py"):
                        shutil.copyfile(path, Path(scratch) / path.name)
                    folder = Path(scratch) / "case"
                    folder.mkdir()
                    made = python(("-c", PROLOGUE + script), folder, Path(scratch))
                    answers = [commands.run(line, folder) for line in before]
                    if made is not None or any(answer.status for answer in answers):
                        raise RowSkipped(f"failed: inputs of {group}: {made or [answer.reason for answer in answers]}")
                    for words, inputs in pairs:
                        count, bad = self._pair(folder, commands, words, inputs)
                        tried, lost = tried + count, lost + bad
        yield at_most(self.number, "inputs that a command wrote over", len(lost), 0, detail={"lost": lost})
        yield at_least(self.number, "outputs that are inputs, tried", tried, self.least_tried)

    @staticmethod
    def _pair(folder: Path, commands: Commands, words: str, inputs: tuple[str, ...]) -> tuple[int, list[str]]:
        """How many spellings were tried, and those by which an input was changed; it is put back."""
        tried, lost = 0, []
        for name in inputs:
            kept = {each: (folder / each).read_bytes() for each in inputs}
            right = state(folder, inputs)
            for spelling in spellings(folder, name):
                tried += 1
                commands.run(words.format(spelling), folder)
                if state(folder, inputs) != right:
                    lost.append(words.format(spelling))
                    for each, data in kept.items():
                        (folder / each).unlink(missing_ok=True)
                        (folder / each).write_bytes(data)
        return tried, lost
