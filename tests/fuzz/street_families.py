"""Readers of street maps, with valid inputs and changes of them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from driver import Case, Family, Files, Rng
from families import only, texts
from mutations import elements, members, pick, plain_elements, plain_members, raw

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "formats"))

import opendrive_samples as xodr

from foldmap.formats.street.geojson import write_geojson
from foldmap.formats.street.geoparquet import read_geoparquet, write_geoparquet
from foldmap.formats.street.lanelet2.write import write_lanelet2
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.street.observations.ring import read_ring_file, write_ring_file
from foldmap.street.images.rig import surround_ring
from foldmap.street.source import LaneAttributes, LaneGraph, StreetMap

UTM = "EPSG:25832"


def street_map(crs: str | None = UTM) -> StreetMap:
    """Three lanes that part, with what lanes may have."""
    offset = np.array([500000.0, 5400000.0]) if crs else np.zeros(2)
    lines = [
        np.array(line, float) + offset
        for line in ([[0, 0], [50, 0]], [[50, 0], [90, 10]], [[50, 0], [90, -10], [120, -40]])
    ]
    lanes = [LaneAttributes(str(k), 3.5, 13.9, "driving") for k in range(3)]
    return StreetMap("town", LaneGraph.from_polylines(lines, lanes=lanes), crs)


def written(write: Callable[[StreetMap, Path], None], name: str, crs: str | None = UTM) -> Files:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        write(street_map(crs), path)
        return {name: path.read_bytes()}


def read_maps(kind: str | None = None) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        return [
            (one.graph.vertices_m, one.graph.edges, one.graph.kind, one.crs)
            for one in read_street_maps(only(folder), kind)
        ]

    return read


def opendrive_seeds() -> Sequence[Files]:
    line, arc = "<line/>", '<arc curvature="0.01"/>'
    lanes = xodr.section([xodr.lane(1, after=1), xodr.lane(-1, after=-1), xodr.lane(-2, kind="sidewalk")])
    later = xodr.section([xodr.lane(1, before=1), xodr.lane(-1, before=-1, widths=xodr.width(3, 0.01))], 20.0)
    spiral = '<spiral curvStart="0" curvEnd="0.02"/>'
    poly = '<paramPoly3 aU="0" bU="1" cU="0" dU="0" aV="0" bV="0" cV="0.001" dV="0" pRange="arcLength"/>'
    first = xodr.road(
        "1", [xodr.geometry(0, 0, 0, 0, 25.0, line), xodr.geometry(25.0, 25.0, 0, 0, 15.0, arc)], lanes + later, 40.0,
        link=xodr.joined("successor", "2", "start"),
        before='<type s="0" type="town"><speed max="50" unit="km/h"/></type>',
    )  # fmt: skip
    second = xodr.road(
        "2", [xodr.geometry(0, 39.9, 1.1, 0.15, 10.0, spiral), xodr.geometry(10.0, 50, 2, 0.2, 10.0, poly)],
        xodr.section([xodr.lane(-1), xodr.lane(1)]), 20.0, link=xodr.joined("predecessor", "1", "end"),
    )  # fmt: skip
    junction = (
        '<junction id="9" name="j"><connection id="0" incomingRoad="1" connectingRoad="2" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection></junction>'
    )
    head = "<geoReference><![CDATA[+proj=utm +zone=32 +datum=WGS84 +units=m]]></geoReference>"
    return [
        {"a.xodr": xodr.document(first, second, header=head).encode()},
        {"a.xodr": xodr.document(first, second, junction).encode()},
    ]


def sumo_seeds() -> Sequence[Files]:
    from test_formats_street_sumo import NET

    return [{"a.net.xml": NET.format(projection=p).encode()} for p in ("!", "+proj=utm +zone=33 +datum=WGS84 +units=m")]


def lanelet2_seeds() -> Sequence[Files]:
    return [written(lambda street, path: write_lanelet2(path, street), "a.osm", crs) for crs in (UTM, None)]


def argoverse_seeds() -> Sequence[Files]:
    from test_formats_street_argoverse2 import two_lanes

    content = {"lane_segments": {str(one["id"]): one for one in two_lanes()}, "drivable_areas": {}}
    return [{"log_map_archive_abc____PIT_city_1.json": json.dumps(content).encode()}]


def geojson_seeds() -> Sequence[Files]:
    lines = [[[8.4, 49.0], [8.401, 49.0], [8.402, 49.001]], [[8.402, 49.001], [8.404, 49.002]]]
    plain = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": k,
                "properties": {"lanes": 1, "width_m": 3.5},
                "geometry": {"type": "LineString", "coordinates": line},
            }
            for k, line in enumerate(lines)
        ],
    }
    many = json.loads(json.dumps(plain))
    many["features"].append(
        {"type": "Feature", "properties": None, "geometry": {"type": "MultiLineString", "coordinates": lines}}
    )
    return [
        written(write_geojson, "a.geojson"), written(write_geojson, "a.geojson", None),
        {"a.geojson": json.dumps(plain).encode()}, {"a.geojson": json.dumps(many).encode()},
    ]  # fmt: skip


def geoparquet_column(rng: Rng, files: Files) -> Case:
    """One column, its type, or the metadata."""
    ((name, data),) = files.items()
    if rng.random() < 0.25:
        return Case({name: raw(rng, data)}, "bytes")
    held = parquet.read_table(pa.BufferReader(data))
    kind = int(rng.integers(6))
    column = pick(rng, held.column_names)
    at = held.column_names.index(column)
    if kind == 0:
        held = held.drop_columns([column])
    elif kind == 1:
        held = held.set_column(
            at, column, pa.array([pick(rng, (None, b"", b"\x01\x02", b"\x01\x02\0\0\0\xff\xff\xff\xff"))] * len(held))
        )
    elif kind == 2:
        held = held.set_column(
            at, column, pa.array([pick(rng, (None, 1, 2**62, float("nan"), "x", "nan", True))] * len(held))
        )
    elif kind == 3:
        held = held.rename_columns([("x" if one == column else one) for one in held.column_names])
    elif kind == 4:
        held = held.slice(0, int(rng.integers(len(held) + 1)))
    else:
        meta = dict(held.schema.metadata or {})
        text = meta.get(b"geo", b"{}").decode()
        meta[b"geo"] = members(rng, text).encode("utf-8", "replace")
        held = held.replace_schema_metadata(meta)
    out = pa.BufferOutputStream()
    parquet.write_table(held, out)
    return Case({name: out.getvalue().to_pybytes()}, f"column {column}")


def ring_seeds() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as scratch:
        write_ring_file(Path(scratch) / "ring.json", surround_ring(size_px=(96, 72)))
        return [{"ring.json": (Path(scratch) / "ring.json").read_bytes()}]


def read_ring(folder: Path) -> Any:
    ring = read_ring_file(only(folder))
    return ring.names, ring.vehicle_SE3_camera, [camera.params for camera in ring.cameras]


def read_parquet(folder: Path) -> Any:
    one = read_geoparquet(only(folder)).street_map
    return one.graph.vertices_m, one.graph.edges, one.crs


def street_families() -> list[Family]:
    """Of street maps and camera rings."""
    xml, tree = texts(elements, plain_elements), texts(members, plain_members)
    return [
        Family("opendrive", opendrive_seeds, xml, read_maps("opendrive")),
        Family("sumo", sumo_seeds, xml, read_maps("sumo")),
        Family("lanelet2", lanelet2_seeds, xml, read_maps("lanelet2")),
        Family("argoverse2", argoverse_seeds, tree, read_maps("argoverse2")),
        Family("geojson", geojson_seeds, tree, read_maps()),
        Family("geoparquet", lambda: [written(write_geoparquet, "a.parquet")], geoparquet_column, read_parquet, 20),
        Family("ring", ring_seeds, tree, read_ring),
    ]
