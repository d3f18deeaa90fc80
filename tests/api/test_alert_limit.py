"""Alert limits on what was localized, and protection levels in what is written."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from foldmap.api.results import Localized, LocalizedObservation, write_json_lines
from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.protection import AlertLimit
from foldmap.localize.tail import Tail

GAUSSIAN = Tail(1.0, 0.05, 0.1, 1000)


def _answer(name: str, sigma_m: float, errors: Tail | None = GAUSSIAN) -> LocalizedObservation:
    covariance = np.diag([sigma_m**2, sigma_m**2, math.radians(0.1) ** 2])
    return LocalizedObservation(
        name, "1", Estimate(Status.OK, SE2(1, 2, 0.3), covariance, Diagnostics(), errors=errors)
    )


def test_ok_is_what_stays_under_the_limit() -> None:
    nothing = Estimate.without_pose(Status.NO_MATCH, Diagnostics(reason="no"))
    asked = [_answer("sharp", 0.05), _answer("wide", 0.2), _answer("unknown", 0.05, None)]
    found = Localized([*asked, LocalizedObservation("lost", "2", nothing)], {}, {}, [])
    judged = found.within(AlertLimit.read("reid-street"))
    told = {one.name: one.estimate.status.value for one in judged.observations}
    assert told == {"sharp": "ok", "wide": "degraded", "unknown": "degraded", "lost": "no_match"}
    assert judged.summary()["by_status"] == {"ok": 1, "degraded": 2, "no_match": 1}
    assert judged.settings["alert_limit"]["name"] == "reid-street"
    assert found.summary()["by_status"]["ok"] == 3


def test_lines_tell_the_protection_level(tmp_path: Path) -> None:
    lost = replace(_answer("c", 1.0), estimate=Estimate.without_pose(Status.NO_MAP, Diagnostics()))
    write_json_lines(tmp_path / "e.jsonl", [_answer("a", 0.1), _answer("b", 0.1, None), lost])
    lines = (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()
    one, two, three = (json.loads(line)["protection_level"] for line in lines)
    bound_m = 0.1 * stats.chi(2).isf(1e-3)
    assert one["risk"] == 1e-3
    assert [one["along"], one["across"], one["position"]] == pytest.approx([bound_m] * 3)
    assert two is None
    assert three is None
