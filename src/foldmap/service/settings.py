"""What a service is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import ConfigError
from foldmap.geometry.geopose import Anchor
from foldmap.runtime.threads import require_workers


@dataclass(frozen=True)
class ServiceSettings:
    """How a map is served. Raises `ConfigError`: a limit is out of range, or the token is no token.

    Attributes:
        path: the .fold file; when another is put in its place that one is served.
        anchor: where the map lies, instead of what the file says.
        patches: folder of .foldpatch files that lead to the map.
        token: that clients must bear; empty for none.
        origins: of web pages whose scripts may ask.
        weights: of the network that made the map's features.
        max_keypoints: extracted of a photo at most.
        max_side: photos with a longer side, in px, are made smaller first; None: as large as the extractor takes.
        max_body_bytes: of a request.
        max_pixels: of a photo.
        queue: requests that wait for a localizer at most; more are told to come again.
        timeout_s: for a request to arrive, and then for its answer.
        workers: processes that serve the map; each has a queue of its own.
    """

    path: Path
    anchor: Anchor | None = None
    patches: Path | None = None
    token: str = ""
    origins: tuple[str, ...] = ()
    weights: Path | None = None
    max_keypoints: int = 8192
    max_side: int | None = None
    max_body_bytes: int = 20_000_000
    max_pixels: int = 16_000_000
    queue: int = 8
    timeout_s: float = 30.0
    workers: int = 1

    def __post_init__(self) -> None:
        for name, least in (
            ("max_keypoints", 1),
            ("max_body_bytes", 1),
            ("max_pixels", 256),
            ("queue", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}", f"give {least} or more")
        require_workers(self.workers)
        if self.max_side is not None and self.max_side < 32:
            raise ConfigError(f"photos of at most {self.max_side} px a side", "give 32 or more")
        if self.weights is not None and not self.weights.exists():
            raise ConfigError(f"there are no weights {self.weights}", "check the path")
        if not 0 < self.timeout_s < 86_400:
            raise ConfigError(f"a timeout of {self.timeout_s} s", "give positive seconds")
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ConfigError("the token has characters that no header carries", "take letters and digits")

    @property
    def extraction(self) -> tuple[Path | None, int, int | None]:
        """Weights, most keypoints and longest side, px, of what makes the features of photos."""
        return self.weights, self.max_keypoints, self.max_side
