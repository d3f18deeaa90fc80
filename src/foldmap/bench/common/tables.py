"""Tables and pictures of a benchmark: each a file of its own, and all of them on one page."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.atlas.whole import write_whole
from foldmap.report import Page


@dataclass(frozen=True)
class Picture:
    """One PNG with the name of its file (no suffix) and its caption."""

    name: str
    caption: str
    png: bytes


class ResultPage(Page):
    """A page whose tables (JSON and CSV) and pictures are written as files into its folder, too; made where missing."""

    def __init__(self, folder: Path, title: str, lead: str = "", command: str = "") -> None:
        super().__init__(title, lead)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if command:
            self.command(command)

    def keep_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows as ``name.json`` and ``name.csv`` without showing them."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / f"{name}.json", to_json(rows))
        write_whole(self.folder / f"{name}.csv", to_csv(rows))

    def keep_figure(self, file: str, picture: bytes, caption: str) -> None:
        """Show a picture and write it as ``file``."""
        write_whole(self.folder / file, picture)
        self.figure(picture, caption)

    def keep_pictures(self, pictures: Sequence[Picture], below: str = "") -> None:
        """Show pictures and write them into a folder below the page's."""
        for picture in pictures:
            self.keep_figure(f"{below}{picture.name}.png", picture.png, picture.caption)


def to_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON; infinite becomes the string "inf", NaN becomes null, since JSON knows neither."""
    return json.dumps([{k: _plain(v) for k, v in row.items()} for row in rows], indent=2) + "\n"


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with the union of their keys as header, in order of appearance."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _plain(v) for k, v in row.items()} for row in rows)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
