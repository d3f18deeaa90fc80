"""The page about a run: what it says, that it stands alone, and that it needs neither map nor truth."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from drive_answers import COUNT, answered_drive
from typer.testing import CliRunner

from foldmap.api.folding import StreetOptions, fold
from foldmap.api.judging.reporting import report_run
from foldmap.api.judging.runs import map_ground, read_run
from foldmap.api.opened import open as open_map
from foldmap.cli.app import app
from foldmap.errors import MapInputError
from foldmap.localize.tail import Tail

HEAVY = Tail(9.0, 1.0, 0.1, 500)


class _Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(page: Path) -> _Read:
    read = _Read()
    read.feed(page.read_text(encoding="utf-8"))
    return read


def test_a_page_says_what_failed_first_and_fetches_nothing(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive", errors=HEAVY)
    settings = {"command": "localize", "map": "gone.fold", "radius_m": 1.0}
    Path(f"{estimates}.settings.json").write_text(json.dumps(settings))
    told = report_run(tmp_path / "drive", tmp_path / "run.html", truth=truth)
    refused = len(range(3, COUNT, 11))
    assert told["by_status"] == {"ok": COUNT - refused, "no_match": refused}
    rows = [json.loads(line) for line in Path(f"{estimates}.jsonl").read_text().splitlines()]
    error = [abs(row["pose"]["x_m"] - 3.0 * number) for number, row in enumerate(rows) if row["pose"]]
    assert told["median_error"] == pytest.approx(np.median(error), rel=0.05)  # across it is a tenth
    assert told["median_level"] > told["median_error"]
    read = _read(tmp_path / "run.html")
    assert read.links
    assert all(link.startswith("data:image/") for link in read.links)
    words = " ".join(read.words)
    assert words.index("What failed") < words.index("In numbers")
    assert re.search(rf"score … < …\s+{refused}\b", words)  # alike but for their numbers
    assert '"radius_m": 1.0' in words
    assert "prefers-color-scheme:dark" in words
    pictures = [base64.b64decode(link.split(",", 1)[1]) for link in read.links]
    assert pictures[0].startswith(b"\x89PNG")
    assert b"<svg" in pictures[1]


def test_errors_beyond_their_bound_lead(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")  # sigma is a third of what it should be, and no level
    report_run(estimates, tmp_path / "run.html", truth=truth)
    words = " ".join(_read(tmp_path / "run.html").words)
    assert "beyond" in words[words.index("Largest errors") : words.index("Why answers")]
    assert "Is sigma sigma?" in words


def test_neither_map_nor_truth_is_needed(tmp_path: Path) -> None:
    estimates, _ = answered_drive(tmp_path / "drive")
    told = report_run(Path(f"{estimates}.jsonl"), tmp_path / "run.html")
    assert "median_error" not in told
    assert "The truth was not given" in (tmp_path / "run.html").read_text(encoding="utf-8")
    with pytest.raises(MapInputError, match=r"nothing\.txt"):
        report_run(tmp_path / "nothing.txt", tmp_path / "other.html")


def test_the_verb_writes_the_page_and_no_other_kind_of_file(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    words = ["report", str(estimates), "--truth", str(truth), "-o"]
    found = CliRunner().invoke(app, [*words, str(tmp_path / "run.html"), "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["observations"] == COUNT
    before = truth.read_bytes()
    for wrong in (truth, tmp_path / "run.pdf"):
        assert CliRunner().invoke(app, [*words, str(wrong)]).exit_code == 2
    assert truth.read_bytes() == before
    assert CliRunner().invoke(app, ["report", str(estimates)]).exit_code == 0  # into the run's folder
    assert _read(estimates.parent / "report.html").words


def test_lanes_are_drawn_along_their_whole_length(tmp_path: Path) -> None:
    """Of a straight lane a file keeps its ends alone."""
    line = {"type": "LineString", "coordinates": [[0.0, 2.0], [30.0, 2.0]]}
    feature = {"type": "Feature", "properties": {}, "geometry": line}
    (tmp_path / "lane.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    fold(tmp_path / "lane.geojson", tmp_path / "lane.fold", street=StreetOptions(spacing=0.0))
    with open_map(tmp_path / "lane.fold") as town:
        points = map_ground(town, "street", np.full(3, -np.inf), np.array([20.0, np.inf, np.inf]))
    east_m = np.sort(points[:, 0])
    assert (np.diff(east_m) <= 1.0).all()
    assert (east_m[0], east_m[-1]) == pytest.approx((0.0, 20.0), abs=0.6)
    np.testing.assert_allclose(points[:, 1], 2.0, atol=0.2)


def test_a_map_is_found_from_where_the_run_lies_and_its_lack_is_told(tmp_path: Path) -> None:
    estimates, _ = answered_drive(tmp_path / "run")
    Path(f"{estimates}.settings.json").write_text(json.dumps({"command": "localize", "map": "maps/town.fold"}))
    report_run(estimates, tmp_path / "run.html")
    assert any("maps/town.fold, is not there" in words for words in _read(tmp_path / "run.html").words)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "town.fold").touch()
    assert read_run(tmp_path / "run").fold_file == tmp_path.resolve() / "maps" / "town.fold"
