"""Lane graphs of a street layer's tiles, read as docs/street-codes.md (section 2) says, in plain Python."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from range_reader import Mixed, RangeReader, clamp

U = 4096
FLAGS = {name: 3 + 1088 * k for k, name in enumerate(("MORE", "BACK", "KIND", "REF", "RANK", "NEAR"))}
_NAMES = ["ROOT_X", "ROOT_Y", "INDEX", "COUNT", *(f"END_A{k}" for k in range(4)), *(f"END_B{k}" for k in range(4))]
NUMBERS = {name: 3 + 6 * 1088 + 9129 * k for k, name in enumerate([*_NAMES, "IN_A", "IN_B"])}
Vec = tuple[int, int]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where the next thing starts."""
    value = 0
    for k in range(9):
        byte = data[at + k]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            assert byte or not k, "a leading zero group"
            return value, at + k + 1
    raise AssertionError("a varint of more than 9 bytes")


def unfolded(n: int) -> int:
    return -(n + 1) // 2 if n & 1 else n // 2


def bits(n: int) -> int:
    return abs(n).bit_length()


def sign_class(n: int) -> int:
    return 0 if n == 0 else 1 if n > 0 else 2


def minus(a: Vec, b: Vec) -> Vec:
    return a[0] - b[0], a[1] - b[1]


def plus(a: Vec, b: Vec) -> Vec:
    return a[0] + b[0], a[1] + b[1]


def dot(a: Vec, b: Vec) -> int:
    return a[0] * b[0] + a[1] * b[1]


def cross(a: Vec, b: Vec) -> int:
    return a[0] * b[1] - a[1] * b[0]


def length(d: Vec) -> int:
    return isqrt(dot(d, d))


def unit(d: Vec) -> Vec:
    size = length(d)
    return (d[0] * U // size, d[1] * U // size) if size else (0, 0)


def out_of(d: Vec, u: Vec) -> Vec:
    """The inverse of `into`."""
    if u == (0, 0):
        return d
    turns = 0
    while not (u[0] > 0 and abs(u[1]) <= u[0]):
        u, turns = (u[1], -u[0]), turns + 1
    h, f = (u[1] << 16) // (u[0] + U), (u[1] << 16) // U
    x, y = d
    x -= (y * h + 32768) >> 16
    y += (x * f + 32768) >> 16
    x -= (y * h + 32768) >> 16
    for _ in range(turns):
        x, y = -y, x
    return x, y


def turned(t: Vec, d: Vec) -> Vec:
    u = unit(d)
    if u == (0, 0):
        return t
    q = dot(t, u)
    return u if q <= 0 else unit((2 * q * u[0] // U - t[0] * U, 2 * q * u[1] // U - t[1] * U))


def bow(c: Vec, u: Vec) -> int:
    q, x = dot(c, u), cross(u, c)
    return clamp(2 * x // max(1024, (q + U * U) >> 12), -2 * U, 2 * U)


def curve(t: Vec, e: Vec, u: Vec, size: int, a: int) -> int:
    if size == 0 or t == e == (0, 0):
        return 0
    first, last = bow(t, u), bow(e, u)
    if t == (0, 0):
        first = -last
    if e == (0, 0):
        last = -first
    z = (clamp(a, 0, size) << 12) // size
    y = U - z
    return (size * (((z * y) >> 12) * ((first * y - last * z) >> 12) >> 12)) >> 12


@dataclass
class Graph:
    """What a payload holds: grid coordinates, edges in driving direction, their kinds."""

    xy: list[Vec] = field(default_factory=list)
    edges: list[Vec] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)


class GraphReader:
    """The decisions of one graph."""

    def __init__(self, payload: bytes, step_m: float) -> None:
        self.mixed = Mixed(RangeReader(payload), 200, 12)
        self.sets = [[65536, 0, 0], *(Mixed.weights(3) for _ in range(19))]
        self.beside = max(1, int(6 / step_m))
        self.at: list[Vec] = []
        self.way: list[Vec] = []
        self.ins: list[int] = []
        self.outs: list[int] = []
        self.last_in: list[int] = []
        self.last_out: list[int] = []
        self.chains: list[tuple[int, int, int]] = []  # from, to, kind
        self.inner: list[Vec] = []
        self.lines: list[tuple[list[int], bool]] = []  # inner vertices as coded, and whether the chain runs back

    def flag(self, name: str, contexts: tuple[int, int, int], which: int) -> int:
        base, (a, b, c) = FLAGS[name], contexts
        assert a < 64
        assert b < 512
        assert c < 512
        return self.mixed.bit(self.sets[which], [base + a, base + 64 + b, base + 576 + c])

    def one(self, slot: int) -> int:
        return self.mixed.bit(self.sets[0], [slot])

    def number(self, name: str, a: int, b: int, s: int, which: int, signed: bool = True) -> int:
        base, k = NUMBERS[name], 0
        assert a < 16
        assert b < 256
        assert s < 9
        while k < 31 and self.mixed.bit(
            self.sets[which], [base + k, base + 32 * (1 + a) + k, base + 32 * (17 + b) + k]
        ):
            k += 1
        if not k:
            return 0
        negative = signed and self.one(base + 8736 + s)
        size, before = 1, 0
        for place in range(k - 1):
            if place == 0:
                before = self.one(base + 8745 + 4 * k)
                bit = before
            elif place == 1:
                bit = self.one(base + 8745 + 4 * k + 1 + before)
            else:
                bit = self.mixed.reader.even()
            size = 2 * size + bit
        return -size if negative else size

    def face(self, v: int, back: int) -> Vec:
        x, y = self.way[v] if v < len(self.way) else (0, 0)
        return (-x, -y) if back else (x, y)

    def kin(self, v: int) -> int:
        chain = self.last_out[v] if self.last_out[v] >= 0 else self.last_in[v]
        return self.chains[chain][2] if chain >= 0 else 2

    def add(self, at: Vec) -> None:
        self.at.append(at)
        self.way.append((0, 0))
        for counts, start in ((self.ins, 0), (self.outs, 0), (self.last_in, -1), (self.last_out, -1)):
            counts.append(start)

    def read(self, keys: int) -> None:
        root = (0, 0)
        for v in range(keys):
            if v == len(self.at):
                dx = self.number("ROOT_X", 0, 0, 0, 17)
                root = plus(root, (dx, self.number("ROOT_Y", min(15, bits(dx)), 0, 0, 18)))
                self.add(root)
            while True:
                kin, counts = self.kin(v), 4 * min(3, self.ins[v]) + min(3, self.outs[v])
                waiting = min(3, len(self.at) - v - 1)
                if not self.flag("MORE", (kin, 3 * counts + kin, 4 * counts + waiting), 19):
                    break
                self.chain(v, kin, 3 * counts + kin)

    def chain(self, v: int, kin: int, a: int) -> None:
        back = self.flag("BACK", (kin, a, 0), 14)
        kind = self.flag("KIND", (2 * kin + back, 2 * a + back, 0), 15)
        w, at = self.end(v, back, kind)
        d = minus(at, self.at[v])
        size, u = length(d), unit(d)
        t = self.face(v, back)
        bend = 0 if t == (0, 0) else abs(curve(t, self.face(w, back), u, size, size // 2))
        b = 8 * min(15, bits(size)) + min(7, bits(bend))
        count = self.number("COUNT", 2 * min(7, bits(bend)) + kind, b, 0, 16, signed=False)
        new = w == len(self.at)
        way = self.along(v, w, at, (back, kind), count)
        if new:
            self.add(at)
        if self.way[w] == (0, 0):
            self.way[w] = way
        tail, head = (w, v) if back else (v, w)
        self.outs[tail] += 1
        self.ins[head] += 1
        self.last_out[tail] = self.last_in[head] = len(self.chains)
        self.chains.append((tail, head, kind))

    def end(self, v: int, back: int, kind: int) -> tuple[int, Vec]:
        """Number and position of a chain's other end."""
        here, scored = self.face(v, back), []
        for w in range(v + 1, min(len(self.at), v + 1025)):
            d = minus(self.at[w], self.at[v])
            there, size = self.face(w, back), length(d)
            if d == (0, 0) or dot(here, d) < 0 or dot(there, d) < 0:
                continue
            both = here != (0, 0) and there != (0, 0)
            m = abs(cross(here, d) - cross(d, there)) // size if both else 0
            used = self.outs[w] if back else self.ins[w]
            scored.append((size * (U + 2 * m) * (2 + min(2, used)), w))
        scored.sort()
        away = worn = 0
        if scored:
            score, best = scored[0]
            away, worn = min(15, bits(score // U)), 3 * min(2, self.ins[best]) + min(2, self.outs[best])
        close = min(3, len(scored))
        own = (3 * min(2, self.ins[v]) + min(2, self.outs[v])) * 2 + back
        if not self.flag("REF", (4 * close + 2 * back + kind, (9 * away + worn) * 2 + kind, own * 16 + away), 3):
            return len(self.at), self.predicted(v, back, kind)
        for k in range(min(len(scored), 24)):
            if not self.flag("RANK", (k, 2 * k + kind, (2 * close + back) * 32 + k), 6):
                w = scored[k][1]
                return w, self.at[w]
        w = len(self.at) - 1 - self.number("INDEX", 0, 0, 0, 9, signed=False)
        assert w >= 0, "a vertex before the first"
        return w, self.at[w]

    def predicted(self, v: int, back: int, kind: int) -> Vec:
        nearest, p, how = None, (0, 0), 3 if self.way[v] == (0, 0) else 0
        for w in range(max(0, v - 1024), len(self.at)):
            q, d = dot(self.way[w], self.way[v]), minus(self.at[w], self.at[v])
            if w == v or abs(q) < 7 * U * U // 8 or max(abs(d[0]), abs(d[1])) > self.beside:
                continue
            chain = self.last_in[w] if bool(back) == (q > 0) else self.last_out[w]
            if chain >= 0 and (nearest is None or dot(d, d) < nearest):
                nearest, how = dot(d, d), 1 if q > 0 else 2
                tail, head, _ = self.chains[chain]
                p = minus(self.at[head if tail == w else tail], self.at[w])
        u = self.face(v, back) if p == (0, 0) else unit(p)
        far = bits(length(p))
        along = self.number(f"END_A{how}", 2 * kind + back, 2 * min(31, far) + kind, 0, 10)
        s = 3 * sign_class(along) + (0 if how else kind)
        across = self.number(f"END_B{how}", min(15, far), 2 * min(31, bits(along)) + kind, s, 11)
        return plus(plus(self.at[v], p), out_of((along, across), u))

    def along(self, v: int, w: int, end: Vec, looks: Vec, count: int) -> Vec:
        """Read the inner vertices of a chain; the direction at its end."""
        back, kind = looks
        p, t, e, miss, last = self.at[v], self.face(v, back), (0, 0) if w == v else self.face(w, back), 0, 0
        first = len(self.inner)
        for k in range(count):
            d = minus(end, p)
            size, r = length(d), count - k
            u, step = unit(d) if size else t, size // (r + 1)
            b = 8 * min(15, bits(step)) + 2 * min(3, k) + kind
            go = step + self.number("IN_A", 2 * min(7, r) + kind, b, 3 * sign_class(last) + min(2, k), 12)
            last = go - step
            high = curve(t, e, u, size, go)
            b = 8 * min(15, bits(high)) + min(7, miss)
            q = self.number("IN_B", min(15, bits(min(go, size - go))), b, 3 * sign_class(high) + (k > 0), 13)
            miss = bits(q) + 1
            at = plus(p, out_of((go, high + q), u))
            d, p = minus(at, p), at
            self.inner.append(at)
            if k == 0 and self.way[v] == (0, 0):
                self.way[v] = tuple(-x if back else x for x in unit(d))  # type: ignore[assignment]
            t = turned(t, d)
        d = minus(end, p)
        if not count and self.way[v] == (0, 0):
            self.way[v] = tuple(-x if back else x for x in unit(d))  # type: ignore[assignment]
        self.lines.append((list(range(first, len(self.inner))), bool(back)))
        x, y = turned(t, d)
        return (-x, -y) if back else (x, y)


def read_graph(data: bytes, step_m: float) -> Graph:
    """Part *graph* of a tile; assertions fail on what is not as the document says."""
    at, head = 0, []
    for _ in range(5):
        value, at = varint(data, at)
        head.append(value)
    keys, chains, inner = head[:3]
    origin = (unfolded(head[3]), unfolded(head[4]))
    if not keys:
        assert not any(head)
        assert at == len(data)
        return Graph()
    reader = GraphReader(data[at:], step_m)
    reader.read(keys)
    reader.mixed.reader.finish()
    assert (keys, chains, inner) == (len(reader.at), len(reader.chains), len(reader.inner))
    graph = Graph([plus(at, origin) for at in (*reader.at, *reader.inner)])
    for (tail, head_, kind), (line, back) in zip(reader.chains, reader.lines, strict=True):
        stops = [tail, *(keys + k for k in (line[::-1] if back else line)), head_]
        graph.edges += itertools.pairwise(stops)
        graph.kind += [kind] * (len(stops) - 1)
    return graph
