"""What is painted on and let into a street, as primitives in its (arc, lateral) coordinates."""

import itertools
import math

import numpy as np

from foldmap.town.plan import Street
from foldmap.types import DoubleArray

RECT, STROKE, RING = 0, 1, 2
PAINT, SURFACE, METAL = 0, 1, 2
COLUMNS = 12
"""kind, s0, s1, d0, d1, period, on, stripe direction (s, d), phase, value, layer.

RECT: the box s0..s1 x d0..d1, striped along its direction when period > 0. STROKE: a line (s0, d0)-(s1, d1) of
width ``on``. RING: centre (s0, d0), outer radius s1, inner radius d1.
PAINT wears; SURFACE multiplies the ground; METAL stays."""


_Pair = tuple[float, float]
_Stripes = tuple[float, float, float]


class _Marks:
    """Collects rows of the mark table."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def rect(
        self, s: _Pair, d: _Pair, value: float, layer: int = PAINT, stripes: _Stripes | None = None, phase: float = 0.0
    ) -> None:
        """Add a box; ``stripes`` is (period_m, on_m, direction_rad from the street's direction)."""
        if s[1] <= s[0]:
            return
        period, on, angle = stripes or (0.0, 0.0, 0.0)
        along = (math.cos(angle), math.sin(angle))
        self.rows.append([RECT, *s, *sorted(d), period, on, *along, phase, value, layer])

    def stroke(self, a: _Pair, b: _Pair, width: float, value: float, layer: int = PAINT) -> None:
        """Add a straight stroke between (s, d) points."""
        self.rows.append([STROKE, a[0], b[0], a[1], b[1], 0.0, width, 0, 0, 0, value, layer])

    def ring(self, s: float, d: float, outer: float, inner: float, value: float, layer: int = METAL) -> None:
        """Add a disc or a ring."""
        self.rows.append([RING, s, outer, d, inner, 0, 0, 0, 0, 0, value, layer])


def street_marks(street: Street) -> DoubleArray:
    """Return the marks of one street, float64 (M, COLUMNS), drawn in order."""
    rng = np.random.default_rng(street.seed)
    marks = _Marks()
    if street.closed:
        _slabs(marks, street)
        return np.array(marks.rows, np.float64)
    _surface(marks, street, rng)
    if street.style.tram:
        _rails(marks, street, rng)
    if rng.random() < (0.5, 0.92, 1.0)[street.style.rank]:
        _lines(marks, street, rng)
        _junction_marks(marks, street, rng)
    _bays(marks, street, rng)
    _covers(marks, street, rng)
    return np.array(marks.rows, np.float64).reshape(-1, COLUMNS)


def _slabs(marks: _Marks, street: Street) -> None:
    """The joints of slabs from kerb to kerb."""
    wide = street.base_half_m + max(street.extra_m)
    for angle, slab in ((0.0, 0.9), (math.pi / 2, 0.6)):
        box = (street.setback_m[0], street.length_m - street.setback_m[1]), (-wide, wide)
        marks.rect(*box, 0.8, SURFACE, (slab, 0.04, angle))


def _surface(marks: _Marks, street: Street, rng: np.random.Generator) -> None:
    """Repairs: rectangular patches with sealed seams, trenches along and across, resurfaced stretches, tar lines."""
    half, length = street.base_half_m, street.length_m
    for _ in range(rng.poisson(length / 18)):
        s, d = rng.uniform(0, length), rng.uniform(-half, half)
        ds, dd = rng.uniform(0.4, 5.0), rng.uniform(0.3, 1.6)
        kind = rng.random()
        if kind < 0.2:
            ds, dd = rng.uniform(8, 40), rng.uniform(0.3, 0.8)
        elif kind < 0.35:
            ds, dd, d = rng.uniform(0.3, 0.9), half, 0.0
        box = (s - ds, s + ds), (max(d - dd, -half), min(d + dd, half))
        marks.rect(*box, float(np.exp(rng.normal(0, 0.22))), SURFACE)
        seam = float(rng.choice([0.6, 0.75, 1.25]))
        if rng.random() < 0.6:
            for edge in box[0]:
                marks.rect((edge - 0.04, edge + 0.04), box[1], seam, SURFACE)
            for edge in box[1]:
                marks.rect(box[0], (edge - 0.04, edge + 0.04), seam, SURFACE)
    if rng.random() < 0.35:
        cut = rng.uniform(0.2, 0.8) * length
        marks.rect((cut, length), (-half - 6, half + 6), float(np.exp(rng.normal(0, 0.2))), SURFACE)
    for lane in range(-street.style.lanes_each_way + 1, street.style.lanes_each_way):
        if rng.random() < 0.45:  # joint between the strips that a paver lays
            at = lane * street.style.lane_width_m + rng.normal(0, 0.15)
            marks.rect((0, length), (at - 0.03, at + 0.03), float(rng.choice([0.7, 0.8, 1.2])), SURFACE)
    for _ in range(rng.poisson(length / 14)):  # sealed cracks wander
        s, d = rng.uniform(0, length), rng.uniform(-half, half)
        heading = rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.4)
        width, value = rng.uniform(0.03, 0.09), float(rng.choice([0.5, 0.65, 1.2], p=[0.4, 0.4, 0.2]))
        for _ in range(rng.integers(3, 14)):
            heading += rng.normal(0, 0.45)
            step = rng.uniform(0.2, 0.7)
            after = (s + step * math.cos(heading), d + step * math.sin(heading))
            if abs(after[1]) < half:
                marks.stroke((s, d), after, width, value, SURFACE)
            s, d = after


def _rails(marks: _Marks, street: Street, rng: np.random.Generator) -> None:
    """Two tracks of 1.4 m gauge: rails dark or bright, a groove beside each, perhaps on their own paving."""
    dark = rng.random() < 0.75
    rail, groove = (0.12, 0.3) if dark else (0.5, 0.1)
    ends = (0.0, street.length_m)
    lane = street.style.lane_width_m
    tracks = [0.5 * lane + 0.1, -0.5 * lane - 0.1] if street.style.lanes_each_way == 1 else [1.6, -1.6]
    if rng.random() < 0.3:
        marks.rect(ends, (tracks[1] - 1.1, tracks[0] + 1.1), float(np.exp(rng.normal(0.1, 0.2))), SURFACE)
    for track in tracks:
        for side in (-0.7, 0.7):
            marks.rect(ends, (track + side - 0.035, track + side + 0.035), rail, METAL)
            inner = track + side - math.copysign(0.06, side)
            marks.rect(ends, (inner - 0.025, inner + 0.025), groove if rng.random() < 0.7 else 0.1, METAL)


def _span(a: float, b: float) -> tuple[float, float]:
    return min(a, b), max(a, b)


def _inner(street: Street, gap_m: float = 0.0) -> tuple[float, float]:
    back = [b + gap_m if b > 0 else 0.0 for b in street.setback_m]
    return back[0], street.length_m - back[1]


def _lines(marks: _Marks, street: Street, rng: np.random.Generator) -> None:
    """Centre line, lane dividers, edge lines and bicycle strips."""
    span = _inner(street, 5.2)
    lane, lanes = street.style.lane_width_m, street.style.lanes_each_way
    bright = float(rng.uniform(0.38, 0.75))
    width = float(rng.uniform(0.1, 0.2))
    on, gap = ((3.0, 6.0), (3.0, 3.0), (6.0, 12.0), (1.0, 1.0), (3.0, 9.0))[rng.integers(5)]
    phase = float(rng.uniform(0, on + gap))
    dashes = (on + gap, on, 0.0)

    def line(at: float, dashed: bool, scale: float = 1.0) -> None:
        half = 0.5 * width * scale
        marks.rect(span, (at - half, at + half), bright, PAINT, dashes if dashed else None, phase)

    centre = rng.integers(5) if street.style.rank else rng.integers(2)
    if centre in (0, 1):
        line(0.0, centre == 0)
    elif centre == 2:
        line(width, False)
        line(-width, False)
    elif centre == 3:
        line(width, False)
        line(-width, True)
    else:  # a hatched strip between two lines
        line(0.6, False)
        line(-0.6, False)
        marks.rect(span, (-0.55, 0.55), bright, PAINT, (float(rng.uniform(1.5, 3.0)), 0.4, math.pi / 4), phase)
    for k in range(1, lanes):
        line(k * lane, True)
        line(-k * lane, True)
    edge_lines = rng.random() < 0.55
    for sign, bike, park in street.sides:
        edge = sign * lanes * lane
        if edge_lines or bike:
            line(edge, bool(bike) and rng.random() < 0.5, 1.0)
        if bike and rng.random() < 0.45:
            marks.rect(span, (edge, edge + sign * bike), float(rng.uniform(0.2, 0.45)), PAINT)
        if bike and park:
            line(edge + sign * bike, False, 0.8)
        if bike:
            for s in np.arange(span[0] + 6, span[1] - 6, 28.0):
                _bicycle(marks, float(s), edge + sign * 0.5 * bike, bright)


def _junction_marks(marks: _Marks, street: Street, rng: np.random.Generator) -> None:
    """Crosswalks, stop lines, arrows and letters on the approach to either junction."""
    half, lane, lanes = street.base_half_m, street.style.lane_width_m, street.style.lanes_each_way
    bright = float(rng.uniform(0.4, 0.8))
    for end in (0, 1):
        back = street.setback_m[end]
        if back == 0.0:
            continue

        def at(distance: float, end: int = end, back: float = back) -> float:
            return back + distance if end == 0 else street.length_m - back - distance

        walk, style = float(rng.uniform(2.4, 4.0)), rng.random()
        if style < 0.35:
            period = float(rng.uniform(0.8, 1.2))
            box = _span(at(0.4), at(0.4 + walk))
            marks.rect(box, (-half, half), bright, PAINT, (period, period / 2, math.pi / 2), float(rng.uniform(0, 1)))
        elif style < 0.65:
            dashed = (1.0, 0.5, math.pi / 2) if rng.random() < 0.6 else None
            for edge in (0.4, 0.4 + walk):
                box = _span(at(edge), at(edge + 0.15))
                marks.rect(box, (-half, half), bright, PAINT, dashed)
        # traffic keeps right: lanes towards the junction lie left of the axis at its start, right of it at its end
        inward = 1.0 if end == 0 else -1.0
        if rng.random() < 0.75:
            stripes = (1.0, 0.5, math.pi / 2) if rng.random() < 0.3 else None
            box = _span(at(4.6), at(4.6 + float(rng.uniform(0.3, 0.5))))
            marks.rect(box, (0.1 * inward, inward * lanes * lane), bright, PAINT, stripes)
        for k in range(lanes):
            d = inward * (k + 0.5) * lane
            if rng.random() < (0.12, 0.5, 0.85)[street.style.rank]:
                for repeat in range(2):
                    _arrow(marks, at(8.5 + 15 * repeat), d, -inward, int(rng.integers(4)), bright)
            elif rng.random() < 0.15:
                _letters(marks, at(16.0), d, -inward, bright, rng)


def _arrow(marks: _Marks, s: float, d: float, forward: float, kind: int, value: float) -> None:
    """A lane arrow 5 m long, tip towards ``forward`` along the axis: 0 ahead, 1 left, 2 right, 3 ahead and right."""

    def put(points: list[tuple[float, float]], width: float) -> None:
        placed = [(s + forward * ahead, d + forward * left) for ahead, left in points]
        for a, b in itertools.pairwise(placed):
            marks.stroke(a, b, width, value)

    put([(-2.5, 0.0), (0.5, 0.0)], 0.15)
    if kind in (0, 3):
        put([(0.5, 0.0), (2.5, 0.0)], 0.12)
        put([(1.3, 0.32), (2.5, 0.0), (1.3, -0.32)], 0.16)
    if kind in (1, 2, 3):
        side = 1.0 if kind == 1 else -1.0
        put([(0.0, 0.0), (1.0, 0.75 * side)], 0.18)
        put([(0.1, 0.75 * side), (1.3, 0.85 * side), (1.4, 0.25 * side)], 0.16)


def _letters(marks: _Marks, s: float, d: float, forward: float, value: float, rng: np.random.Generator) -> None:
    """Letters of random strokes on a 3 x 3 raster, stretched along the street as bus and lane lettering is."""
    for letter in range(int(rng.integers(2, 5))):
        across = (letter - 1.2) * 0.62
        nodes = [(float(rng.integers(3)) * 0.9, float(rng.integers(3)) * 0.2) for _ in range(5)]
        for a, b in itertools.pairwise(nodes):
            start = (s + forward * a[0], d - forward * (across + a[1]))
            marks.stroke(start, (s + forward * b[0], d - forward * (across + b[1])), 0.12, value)


def _bicycle(marks: _Marks, s: float, d: float, value: float) -> None:
    for wheel in (-0.45, 0.45):
        marks.ring(s + wheel, d, 0.3, 0.22, value, PAINT)
    marks.stroke((s - 0.45, d), (s + 0.1, d + 0.3), 0.07, value)
    marks.stroke((s + 0.45, d), (s - 0.1, d + 0.3), 0.07, value)


def _bays(marks: _Marks, street: Street, rng: np.random.Generator) -> None:
    """Parking bays: a line along or short ticks across, perhaps another paving."""
    bright = float(rng.uniform(0.38, 0.65))
    for sign, bike, park in street.sides:
        if not park:
            continue
        near = sign * (street.style.lanes_each_way * street.style.lane_width_m + 0.1 + bike)
        far = near + sign * park
        span = _inner(street, 13.0)
        if rng.random() < 0.4:
            marks.rect(span, (near, far), float(np.exp(rng.normal(0.05, 0.18))), SURFACE)
        if rng.random() < 0.65:
            marks.rect(span, (near, far), bright, PAINT, (float(rng.uniform(5.2, 6.2)), 0.12, 0.0))
            if rng.random() < 0.6:
                marks.rect(span, (near - 0.06, near + 0.06), bright, PAINT)


def _covers(marks: _Marks, street: Street, rng: np.random.Generator) -> None:
    """Manholes in the carriageway, drains along the kerb."""
    for _ in range(rng.poisson(street.length_m / 16)):
        s, d = rng.uniform(0, street.length_m), rng.uniform(-0.8, 0.8) * street.base_half_m
        value = float(rng.choice([0.08, 0.14, 0.45]))
        if rng.random() < 0.35:  # set in a square frame of other paving
            size = rng.uniform(0.5, 0.8)
            marks.rect((s - size, s + size), (d - size, d + size), float(rng.choice([0.7, 1.3])), SURFACE)
        marks.ring(s, d, 0.4, 0.0, 0.2)
        marks.ring(s, d, 0.33, float(rng.choice([0.0, 0.2])), value)
    for sign, extra in ((1, street.extra_m[0]), (-1, street.extra_m[1])):
        near = sign * (street.base_half_m + extra - 0.3)
        for s in np.arange(rng.uniform(8, 20), street.length_m, rng.uniform(14, 26)):
            marks.rect((float(s) - 0.25, float(s) + 0.25), (near - 0.15, near + 0.15), 0.08, METAL)
