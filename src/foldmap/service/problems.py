"""What goes wrong, as HTTP says it: a status, and JSON with a code, a message and a cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foldmap.errors import (
    BudgetError,
    ConfigError,
    FoldmapError,
    InputError,
    LayerError,
    MapFormatError,
    MissingExtraError,
    ModelError,
)

_STATUS: tuple[tuple[type[FoldmapError], int], ...] = (
    (ConfigError, 501),
    (LayerError, 501),
    (ModelError, 501),
    (MissingExtraError, 501),
    (InputError, 400),
    (BudgetError, 400),
    (MapFormatError, 503),
)
"""Of errors that the map and how it is served lead to; the first that fits. A request's own are `bad_request`."""


class Problem(Exception):  # noqa: N818 - an answer, too
    """Ends a request.

    Args:
        status: of HTTP.
        code: stable, for programs.
        message: what is wrong.
        cure: what can be done about it.
        headers: of the answer.
        more: further keys of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        cure: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.cure = status, code, message, cure
        self.headers, self.more = dict(headers or {}), dict(more or {})

    def body(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"error": {"code": self.code, "message": self.message, "cure": self.cure}, **self.more}


def bad_request(message: str, cure: str = "", code: str = "request") -> Problem:
    """What the client sent cannot be used."""
    return Problem(400, code, message, cure)


def of_client(error: FoldmapError) -> Problem:
    """An error about what the client sent."""
    return Problem(400, error.code, error.message, error.cure)


def of_map(error: FoldmapError) -> Problem:
    """An error about the map, or about how it is served."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
    return Problem(status, error.code, error.message, error.cure)
