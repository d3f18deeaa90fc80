"""The page fetches nothing, escapes everything and is the same bytes for the same input."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import InputError
from foldmap.report import Page, accuracy_plot, strip
from foldmap.report.page import format_cell


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        if tag not in ("img", "meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page() -> Page:
    image = np.random.default_rng(0).random((40, 60))
    rows = [
        {"method": "foldmap 8x", "bits": 2.1, "error": 4.4},
        {"method": "<script>alert(1)</script>", "bits": 1948.0, "error": math.nan},
    ]
    return (
        Page("Lidar & maps", "Measured <here>.")
        .heading("Table")
        .table(rows, {"method": "method", "bits": "bit/m²", "error": "median [cm]"}, "A caption.")
        .command("foldmap bench lidar --out DIR")
        .figure(strip([("map", image), ("sweep", image)]), "Two pictures.")
        .figure(accuracy_plot({"foldmap": [(1.0, 4.0), (2.0, 3.0)], "png": [(1948.0, 4.4)]}), "A plot.")
        .text("Done.")
    )


def test_nothing_is_fetched() -> None:
    text = _page().html()
    checker = _Checker()
    checker.feed(text)
    assert checker.open == []
    assert len(checker.references) == 2
    assert all(reference.startswith("data:image/") for reference in checker.references)
    without_pictures = re.sub(r"data:image/[^\"]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<iframe", without_pictures)


def test_text_is_escaped() -> None:
    text = _page().html()
    assert "&lt;script&gt;" in text
    assert "Lidar &amp; maps" in text


def test_own_rows_stand_out_and_missing_values_are_dashes() -> None:
    text = _page().html()
    assert '<tr class="ours"><td>foldmap 8x</td>' in text
    assert "<td>–</td>" in text  # noqa: RUF001


def test_same_input_same_bytes() -> None:
    assert _page().html() == _page().html()


def test_writing_replaces_the_page(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "index.html"
    _page().write(target)
    Page("New").write(target)
    assert "<h1>New</h1>" in target.read_text(encoding="utf-8")
    assert [p.name for p in target.parent.iterdir()] == ["index.html"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        _page().write(tmp_path / "file" / "index.html")


def test_a_picture_must_be_one() -> None:
    with pytest.raises(InputError):
        Page("x").figure(b"GIF89a", "no")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1948.55, "1,949"), (12.345, "12.3"), (3.0, "3.00"), (0.0083, "0.00830"), (0.0, "0"), (36, "36"), (math.inf, "∞")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert format_cell(value) == text
