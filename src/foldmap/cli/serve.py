"""``foldmap serve``: a map over HTTP, for who asks where a photo or a sweep was taken."""

import importlib.util
import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import require_file, say
from foldmap.errors import ConfigError, MissingExtraError

EXAMPLES = (
    "\b\nExamples:\n  foldmap serve town.fold\n"
    "  foldmap serve town.fold --port 8080 --workers 2 --anchor 49.0112,8.4229,116.4,0\n"
    "  FOLDMAP_TOKEN=secret foldmap serve town.fold --host 0.0.0.0 --allow-origin https://app.example.org\n"
    "  foldmap serve town.fold --patches patches/"
)


def serve(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The map; one put in its place is taken up.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8008,
    workers: Annotated[int, typer.Option(help="Processes that localize.")] = 1,
    token: Annotated[
        str | None, typer.Option(envvar="FOLDMAP_TOKEN", help="Clients must bear it; safer in the environment.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Web pages of this origin may ask, like https://app.example.org.")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(help="LAT,LON[,H[,HEADING]] of a local frame, where the file does not say.")
    ] = None,
    patches: Annotated[Path | None, typer.Option(help="Folder of .foldpatch files that lead to the map.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Of the network that made the map's features.")] = None,
    max_side: Annotated[int | None, typer.Option(help="Make photos smaller first, to so many px a side.")] = None,
    max_keypoints: Annotated[int, typer.Option(help="Extract at most that many features of a photo.")] = 8192,
    max_body: Annotated[str, typer.Option(help="Longest request, like 20MB.")] = "20MB",
    max_pixels: Annotated[int, typer.Option(help="Most pixels of a photo.")] = 16_000_000,
    queue: Annotated[
        int, typer.Option(help="Requests that wait in a worker at most; more are told to come again.")
    ] = 8,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds for a request to arrive, and for its answer.")
    ] = 30.0,
) -> None:
    """Serve a map over HTTP: clients of the OSCP GeoPoseProtocol send photos and get OGC GeoPoses.

    Also sweeps, and the map itself with its parts and patches: GET /openapi.json tells all. A pose is answered only
    where the localizer stands behind it; else the answer is 404 with the reason.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn", "prometheus_client")):
        what = "serving needs starlette, uvicorn and prometheus-client, which are not installed"
        raise MissingExtraError(what, "pip install 'foldmap[serve]'")
    from foldmap.api.folding.one_file import parse_size
    from foldmap.geometry.geopose import Anchor
    from foldmap.service.serving import serve as run
    from foldmap.service.settings import ServiceSettings

    require_file(fold_file)
    if patches is not None and not patches.is_dir():
        raise ConfigError(f"there is no folder {patches}", "check the path")
    settings = ServiceSettings(
        path=fold_file.absolute(),
        anchor=None if anchor is None else Anchor.read(anchor),
        patches=patches,
        token=token or "",
        origins=tuple(allow_origin or ()),
        weights=weights,
        max_keypoints=max_keypoints,
        max_side=max_side,
        max_body_bytes=parse_size(max_body),
        max_pixels=max_pixels,
        queue=queue,
        timeout_s=timeout_s,
        workers=workers,
    )
    if not settings.token and not _is_loopback(host):
        say(f"note: whoever reaches {host} may ask; give --token, or FOLDMAP_TOKEN")
    run(settings, host, port, lambda url: say(f"serving {fold_file.name} at {url}"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
