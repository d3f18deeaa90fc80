"""One figure of the scoreboard: what was measured, what was asked for, and how that reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


class RowSkipped(Exception):  # noqa: N818 - nothing went wrong, something is not there
    """A row cannot be measured here; the text says what is missing."""


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes:
        row: number of the row that it belongs to.
        name: what was measured.
        measured: the figure; None for a row that was skipped or failed.
        unit: of it.
        target: like ``<= 3``; empty for information.
        met: whether the target is met; None where there is none.
        note: why there is no figure, or what to know about it.
        detail: numbers behind it, JSON values.
    """

    row: int
    name: str
    measured: float | None
    unit: str = ""
    target: str = ""
    met: bool | None = None
    note: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``met``, ``short``, ``info``, or the note of a row without a figure."""
        if self.measured is None:
            return self.note
        return "info" if self.met is None else "met" if self.met else "short"

    def text(self) -> str:
        """The line as it is printed: name, measured, target, verdict."""
        head = f"{self.row:>2}  {self.name:<66}"
        if self.measured is None:
            return f"{head} {self.note}"
        note = f"  ({self.note})" if self.note else ""
        return f"{head} {number(self.measured):>9} {self.unit:<9} {self.target:<8} {self.verdict}{note}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; infinite becomes the string "inf", NaN becomes null."""
        measured = self.measured
        value: float | str | None = measured
        if measured is not None and not math.isfinite(measured):
            value = None if math.isnan(measured) else ("inf" if measured > 0 else "-inf")
        return {
            "row": self.row,
            "name": self.name,
            "measured": value,
            "unit": self.unit,
            "target": self.target,
            "verdict": self.verdict,
            "note": self.note,
            "detail": self.detail,
        }


def number(value: float) -> str:
    """Four significant digits without an exponent."""
    if not math.isfinite(value):
        return f"{value}"
    digits = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"


def at_most(row: int, name: str, measured: float, limit: float | None, unit: str = "", **more: Any) -> Line:
    """A figure that must not exceed its target, if it has one; NaN never meets it."""
    if limit is None:
        return information(row, name, measured, unit, **more)
    return Line(row, name, float(measured), unit, f"<= {number(limit)}", bool(measured <= limit), **more)


def at_least(row: int, name: str, measured: float, limit: float | None, unit: str = "", **more: Any) -> Line:
    """A figure that must reach its target, if it has one; NaN never does."""
    if limit is None:
        return information(row, name, measured, unit, **more)
    return Line(row, name, float(measured), unit, f">= {number(limit)}", bool(measured >= limit), **more)


def information(row: int, name: str, measured: float, unit: str = "", **more: Any) -> Line:
    """A figure without a target, measured in the same run for comparison."""
    return Line(row, name, float(measured), unit, **more)
