"""The page of a run in a real browser: on a phone and on a desk, by day and by night."""

import re
from pathlib import Path

import pytest
from drive_answers import answered_drive

from foldmap.api.judging.reporting import report_run
from foldmap.localize.tail import Tail
from tests.report.browser import measured, needs_browser

pytestmark = needs_browser
PHONE_PX, DESK_PX = 390, 1280


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    _, truth = answered_drive(folder / "drive", errors=Tail(9.0, 1.0, 0.1, 500))
    report_run(folder / "drive", folder / "run.html", truth=truth)
    return folder / "run.html"


@pytest.mark.parametrize(("width", "dark"), [(PHONE_PX, True), (DESK_PX, False)])
def test_it_fits_its_screen_and_draws_its_pictures(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    told = measured(page, tmp_path, width, dark=dark)
    assert told["width"] == width  # nothing sticks out: what is wide scrolls in its own box
    assert told["cut"] == []
    assert len(told["images"]) >= 2
    assert all(complete and natural > 0 for complete, natural, _ in told["images"])
    assert all(0.5 * min(width, 700) < drawn <= width for *_, drawn in told["images"])
    ground, ink = (_lightness(told[name]) for name in ("background", "ink"))
    assert (ground < 60 and ink > 200) if dark else (ground > 200 and ink < 60)


def _lightness(colour: str) -> float:
    red, green, blue = (int(one) for one in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
