"""Which names mean one image, and which names are times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import PoseInputError
from foldmap.formats.name_times import natural_key, photo_times_s, query_times
from foldmap.formats.same_names import pair_names


def test_whole_names_come_first() -> None:
    asked = ["seq-01/a.png", "seq-02/a.png", "./seq-03/a.png"]
    assert pair_names(asked, ["seq-02/a.png", "seq-01/a.png", "seq-03/a.png"]) == {
        "seq-01/a.png": "seq-01/a.png",
        "seq-02/a.png": "seq-02/a.png",
        "./seq-03/a.png": "seq-03/a.png",
    }


@pytest.mark.parametrize(
    ("asked", "known"),
    [("a.png", "db/a.png"), ("db/a.png", "a.png"), ("room/db/a.png", "db/a.png"), ("db/a.png", "/home/me/db/a.png")],
)
def test_a_part_of_a_name_will_do_where_one_image_has_it(asked: str, known: str) -> None:
    assert pair_names([asked], [known, "db/b.png"]) == {asked: known}


@pytest.mark.parametrize(
    ("asked", "known"), [("seq-01/a.png", "seq-02/a.png"), ("rgb/a.png", "depth/a.png"), ("xa.png", "a.png")]
)
def test_other_images_are_not_paired(asked: str, known: str) -> None:
    assert pair_names([asked], [known]) == {}


def test_an_ambiguous_part_names_both() -> None:
    with pytest.raises(PoseInputError, match=r"'a.png' may be 's1/a.png' or 's2/a.png'"):
        pair_names(["a.png"], ["s1/a.png", "s2/a.png"])
    with pytest.raises(PoseInputError, match=r"'s1/a.png' and 's2/a.png' may both be 'a.png'"):
        pair_names(["s1/a.png", "s2/a.png"], ["a.png"])


def test_who_is_asked_whole_is_not_another_too() -> None:
    assert pair_names(["a.png", "db/a.png"], ["db/a.png"]) == {"db/a.png": "db/a.png"}


@pytest.mark.parametrize(
    ("names", "times_s", "said_s"),
    [
        (["rgb/1305031102.175304.png"], [1305031102.0, 1305031103.0], [1305031102.175304]),
        (["1403636579763555584.png"], [1403636579.0, 1403636580.0], [1403636579.763555584]),  # EuRoC: nanoseconds
        (["1403636579763.jpg"], [1403636579.0, 1403636580.0], [1403636579.763]),
        (["1403636579"], [1403636579.0, 1403636580.0], [1403636579.0]),
        (["0.5.png", "1.png"], [0.5, 1.0], [0.5, 1.0]),
        (["000003.png", "000004.png"], [3.0, 4.0, 5.0], [3.0, 4.0]),  # a trajectory that counts frames too
        (["000003.png", "000004.png"], [0.0, 0.1, 3.0], None),
        (["frame3.png"], [3.0], None),
    ],
)
def test_times_in_names(names: list[str], times_s: list[float], said_s: list[float] | None) -> None:
    found = photo_times_s(names, np.array(times_s))
    assert (found is None) == (said_s is None)
    if said_s is not None:
        assert found == pytest.approx(said_s, abs=1e-6, rel=0)


def test_order_of_names_is_that_of_their_numbers() -> None:
    names = ["f10.png", "f9.png", "f1.png", "b2/a.png", "b10/a.png"]
    ordered = sorted(names, key=lambda name: natural_key(Path(name)))
    assert ordered == ["b2/a.png", "b10/a.png", "f1.png", "f9.png", "f10.png"]
    assert query_times(["7.25.png", "x/3.png"]) == ["7.25", "3"]
    assert query_times(["a/3.png", "b/3.png"]) == query_times(["a", "b"]) == ["0", "1"]
