"""Pictures of trust: bars hold what was counted, curves lie where the shares are."""

import numpy as np
import pytest

from foldmap.errors import InputError
from foldmap.report import trust_figures
from foldmap.report.trust_figures import calibration_plot, kinds_plot

ROW = {"kind": "mirrored", "expect": "refused", "asked": 8, "ok_right": 0, "ok_beyond": 2, "degraded": 1, "refused": 5}


def test_bars_are_shares_of_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(trust_figures, "to_svg", lambda figure: drawn.append(figure) or b"")
    kinds_plot([ROW, {**ROW, "kind": "blank", "ok_beyond": 0, "degraded": 0, "refused": 8}])
    (axes,) = drawn[0].axes
    widths = {box.get_label(): [bar.get_width() for bar in box] for box in axes.containers}
    assert widths["ok, beyond its bound"] == [25.0, 0.0]
    assert widths["degraded"] == [12.5, 0.0]
    assert widths["refused"] == [62.5, 100.0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["mirrored (refused)", "blank (refused)"]


def test_curves_lie_where_the_shares_are(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    nominal = np.linspace(0, 1, 5)
    assert calibration_plot({"a": (nominal, nominal**2)}) == calibration_plot({"a": (nominal, nominal**2)})
    monkeypatch.setattr(trust_figures, "to_svg", lambda figure: drawn.append(figure) or b"")
    calibration_plot({"a": (nominal, nominal**2)})
    (line,) = [line for line in drawn[0].axes[0].lines if line.get_label() == "a"]
    assert line.get_xydata() == pytest.approx(100 * np.column_stack([nominal, nominal**2]))


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="no answers"):
        kinds_plot([])
    with pytest.raises(InputError, match="no shares"):
        calibration_plot({})
