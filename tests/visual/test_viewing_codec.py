"""From where points were seen, as stored: within its grid of the truth, small, and refused where damaged."""

from __future__ import annotations

import numpy as np
import pytest
from point_shell import scene

from foldmap.coding.integers import encode_integers
from foldmap.errors import MapFormatError
from foldmap.visual.codes.viewing_codec import DIRECTIONS, Viewing, any_viewing, decode_viewing, encode_viewing

MODEL = scene(7, points=400, images=12, dimension=8)
POINTS = len(MODEL.points_world)


def test_every_point_is_seen_from_where_it_was_seen() -> None:
    viewing = decode_viewing(encode_viewing(Viewing.of(MODEL)), POINTS)
    tracks = MODEL.tracks
    offset = MODEL.centres_world[tracks.image] - MODEL.points_world[tracks.point]
    distance = np.linalg.norm(offset, axis=1)
    along = np.einsum("ok,ok->o", offset, viewing[tracks.point, :3])
    assert (along >= viewing[tracks.point, 3] * distance).all()
    assert (distance > viewing[tracks.point, 4]).all()
    assert (distance < viewing[tracks.point, 5]).all()
    assert np.allclose(np.linalg.norm(viewing[:, :3], axis=1), 1.0)
    assert (viewing[:, 3] > 0).mean() > 0.5


def test_a_point_is_not_seen_from_its_other_side() -> None:
    """A wall seen from one side: with what its neighbours have a point costs nothing, and still has its side."""
    rng = np.random.default_rng(0)
    towards = rng.normal(size=(300, 3)) * (0.3, 0.3, 0.1) + (0, 0, 1)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    cosine = (towards @ DIRECTIONS.T).astype(np.float32)
    data = encode_viewing(Viewing(cosine.argmax(axis=1), cosine, np.full(300, 1.2)))
    viewing = decode_viewing(data, 300)
    assert (np.einsum("pk,pk->p", towards, viewing[:, :3]) > 0.82).all()
    assert (np.einsum("pk,pk->p", towards * (1, 1, -1), viewing[:, :3]) < viewing[:, 3]).all()
    assert len(data) < 90
    assert viewing[:, 3:].tolist() == [[0.6, 0.5, 8.0]] * 300


def test_a_point_seen_from_all_around_has_no_side() -> None:
    codes = np.array([[0, 0, 1, 1], [2, -1, 2, 0]])
    viewing = decode_viewing(encode_integers(codes), 2)
    assert viewing[0, 3:].tolist() == [-2.0, 0.5, 8.0]
    assert np.linalg.norm(viewing[1, :3]) == pytest.approx(1.0)
    assert viewing[1, 3:].tolist() == [0.6, 2.0, 32.0]


def test_an_unknown_point_is_seen_from_everywhere() -> None:
    assert any_viewing(2).tolist() == [[0, 0, 0, -2, 0, np.inf]] * 2


def test_nearest_directions_are_within_half_of_their_distance() -> None:
    unit = np.random.default_rng(1).normal(size=(5000, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert (unit @ DIRECTIONS.T).max(axis=1).min() > np.cos(np.radians(27))


@pytest.mark.parametrize("row", [(4, 0, 0, 0), (0, 0, 0, 2), (0, 0, 1001, 0), (0, 0, 0, -1), (1 << 60, 0, 0, 0)])
def test_what_no_writer_writes_is_refused(row: tuple[int, ...]) -> None:
    with pytest.raises(MapFormatError):
        decode_viewing(encode_integers(np.array([row])), 1)


def test_cut_bytes_are_refused() -> None:
    data = encode_viewing(Viewing.of(MODEL))
    with pytest.raises(MapFormatError):
        decode_viewing(data[: len(data) // 2], POINTS)
