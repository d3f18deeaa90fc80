"""Fixtures of the localizer's tests."""

from __future__ import annotations

import pytest
from journey_town import Town, make_town
from textured_world import World, make_world


@pytest.fixture(scope="session")
def world() -> World:
    return make_world(1)


@pytest.fixture(scope="session")
def other_world() -> World:
    return make_world(2)


@pytest.fixture(scope="session")
def town() -> Town:
    return make_town()
