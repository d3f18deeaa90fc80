import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldmap.errors import ConfigError
from foldmap.geometry.association import associate_times

times = st.lists(st.floats(-50, 50, allow_nan=False), max_size=12)


def test_rows_40_microseconds_apart_keep_their_own_partners() -> None:
    first = np.arange(8) * 4e-5 + 1.7e9
    rows, partners, offsets = associate_times(first, first[::-1], 0.01)
    assert rows.tolist() == list(range(8))
    assert partners.tolist() == list(range(7, -1, -1))
    assert not offsets.any()


def test_the_limit_is_inclusive_and_adjustable() -> None:
    assert associate_times([0.29], [0.30], 0.01)[0].tolist() == [0]
    assert associate_times([0.29], [0.3001], 0.01)[0].tolist() == []
    assert associate_times([0.29], [0.5], 0.3)[0].tolist() == [0]
    with pytest.raises(ConfigError, match="paired within"):
        associate_times([0.0], [0.0], float("nan"))


def test_two_that_want_one_partner_leave_the_farther_one_alone() -> None:
    rows, partners, _ = associate_times([1.0, 1.004], [1.003, 9.0], 0.01)
    assert rows.tolist() == [1]
    assert partners.tolist() == [0]


@given(times, times, st.floats(0, 5))
def test_like_a_plain_search(first: list[float], second: list[float], limit: float) -> None:
    rows, partners, offsets = associate_times(first, second, limit)
    assert len(set(partners.tolist())) == len(partners)
    best: dict[int, tuple[float, int]] = {}
    for row, time in enumerate(first):
        if second:
            near = min(abs(other - time) for other in second)
            if near <= limit:
                # among equally near ones any will do: look at the distance alone
                chosen = [k for k, other in enumerate(second) if abs(other - time) == near]
                best |= {k: min(best.get(k, (near, row)), (near, row)) for k in chosen[:1]}
    taken = {row: abs(offset) for row, offset in zip(rows.tolist(), offsets.tolist(), strict=True)}
    assert all(distance <= limit + 1e-12 for distance in taken.values())
    if len(set(second)) == len(second) and len({abs(o - t) for o in second for t in first}) == len(second) * len(first):
        assert sorted(taken) == sorted(row for _, row in best.values())
