"""README's picture out of a demo: `python -m benchmarks.pictures out/demo -o docs/pictures/demo.png`.

The map and what its code decodes to, a photo with the points found in it, and where a drive is on the streets.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
from pathlib import Path

from PIL import Image

FIGURES = (
    "The map, and the embedding",
    "A photo of another day",
    "The same after 20 frames",
)
_FIGURE = re.compile(r'<figure>.*?src="data:image/png;base64,([^"]+)".*?<figcaption[^>]*>(.*?)</figcaption>', re.DOTALL)
_HEIGHT_PX, _GAP_PX = 340, 12


def pictures(page: Path) -> dict[str, Image.Image]:
    """The PNG figures of a report by their captions."""
    text = page.read_text(encoding="utf-8")
    figures = (figure for figure in re.split(r"(?=<figure>)", text) if "image/png" in figure)
    found = (match for figure in figures if (match := _FIGURE.search(figure)))
    return {match[2]: Image.open(io.BytesIO(base64.b64decode(match[1]))).convert("RGB") for match in found}


def side_by_side(drawn: list[Image.Image]) -> Image.Image:
    """Pictures of one height beside each other."""
    widths = [round(one.width * _HEIGHT_PX / one.height) for one in drawn]
    sheet, left = Image.new("RGB", (sum(widths) + _GAP_PX * (len(widths) - 1), _HEIGHT_PX), "white"), 0
    for one, width in zip(drawn, widths, strict=True):
        sheet.paste(one.resize((width, _HEIGHT_PX), Image.Resampling.LANCZOS), (left, 0))
        left += width + _GAP_PX
    return sheet


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder of foldmap demo")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    drawn = pictures(given.demo / "index.html")
    shown = [next(picture for caption, picture in drawn.items() if caption.startswith(figure)) for figure in FIGURES]
    side_by_side(shown).quantize(128).save(given.output, optimize=True)


if __name__ == "__main__":
    main()
