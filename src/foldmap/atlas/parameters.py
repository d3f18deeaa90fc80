"""Values among a layer's parameters; a `MapFormatError` names those that make no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foldmap.errors import MapFormatError


def value_of(parameters: Mapping[str, Any], layer: str, key: str, kind: type) -> Any:
    """A value of exactly this type."""
    value = parameters.get(key)
    return _checked(layer, key, value, type(value) is kind)


def whole_of(parameters: Mapping[str, Any], layer: str, key: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    value = value_of(parameters, layer, key, int)
    return int(_checked(layer, key, value, low <= value <= high))


def number_of(parameters: Mapping[str, Any], layer: str, key: str, low: float, high: float) -> float:
    """A number from ``low`` to ``high``."""
    value: Any = parameters.get(key)
    return float(_checked(layer, key, value, type(value) in (int, float) and low <= value <= high))


def _checked(layer: str, key: str, value: Any, fits: bool) -> Any:
    if not fits:
        raise MapFormatError(f"the {layer} layer's {key} is {value!r}"[:200], "fold the map again")
    return value
