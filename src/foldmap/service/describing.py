"""What a map holds, for who asks over HTTP: its layers, where they lie, its seal and size."""

from __future__ import annotations

from typing import Any

from foldmap.api.georeference import Georeference
from foldmap.api.reshaping.kinds import kind_of
from foldmap.api.reshaping.parts import Source
from foldmap.errors import InputError
from foldmap.geometry import SE2, SE3
from foldmap.service.maps import ServedMap


def described(served: ServedMap) -> dict[str, Any]:
    """Layers with tiles, bytes and bounds, in the map's frame and on Earth; frame, anchor, seal and size."""
    file, layers = served.town.file, {}
    sizes = served.town.sizes
    for layer in file.layers():
        held: dict[str, Any] = {"kind": layer.kind, "tiles": layer.tile_count, "bytes": sizes[layer.name]}
        metric = layer.kind != "visual" or layer.parameters.get("metric") is True
        box = [round(value, 3) for value in kind_of(Source(file, layer.name)).bounds(Source(file, layer.name)).tolist()]
        held |= {"bounds_m" if metric else "bounds_world": box}
        if metric and served.place is not None:
            held |= {"bounds_deg": _on_earth(served.place, box)}
        layers[layer.name] = held
    anchor = None if served.place is None else served.place.anchor
    return {
        "name": file.path.name,
        "seal": served.seal,
        "bytes": served.size_bytes,
        "frame": served.town.frame,
        "anchor": None if anchor is None else vars(anchor),
        "layers": layers,
    }


def _on_earth(place: Georeference, box_m: list[float]) -> list[float] | None:
    """Least longitude and latitude, then largest, of a box's corners; None where the crs does not hold them."""
    west, south, east, north = box_m
    corners = [SE3.from_se2(SE2(x_m, y_m, 0.0)) for x_m in (west, east) for y_m in (south, north)]
    try:
        found = [place.geopose(corner) for corner in corners]
    except InputError:
        return None
    longitudes, latitudes = [one.longitude_deg for one in found], [one.latitude_deg for one in found]
    return [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]
