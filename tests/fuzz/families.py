"""Readers of sweeps, rasters and pose tables, and of what scenes consist of, with valid inputs and changes of them."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import laspy
import numpy as np
import rasterio
from driver import Case, Family, Files, Rng
from mutations import pick, plain_table, raw, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "formats"))

from colmap_samples import small_scene, with_loose_keypoints

from colmap_writer import write_model
from foldmap.formats.colmap.database import ColmapDatabase
from foldmap.formats.colmap.scene import read_model_with_keypoints
from foldmap.formats.hloc.features import HlocFeatures, HlocGlobals
from foldmap.formats.hloc.lists import read_names, read_pairs, read_query_list, read_rig_list
from foldmap.formats.hloc.results import read_results
from foldmap.formats.kapture.features import KaptureFeatures
from foldmap.formats.kapture.scene import read_kapture
from foldmap.formats.poses import photos as image_poses
from foldmap.formats.poses import trajectories as poses
from foldmap.formats.raster.geotiff import open_raster
from foldmap.formats.street.observations import poses as street_poses
from foldmap.formats.street.polylines import read_csv
from foldmap.formats.sweeps.files import read_sweep
from foldmap.formats.sweeps.kitti import read_kitti_calibration

_DRAW = np.random.default_rng(5)
POINTS = np.column_stack([_DRAW.uniform(-20, 20, (40, 2)), _DRAW.normal(-1.8, 0.02, 40), _DRAW.uniform(0.1, 1, 40)])


def only(folder: Path) -> Path:
    """The one file of a case."""
    return next(path for path in sorted(folder.rglob("*")) if path.is_file())


def sweep(folder: Path) -> Any:
    found = read_sweep(only(folder))
    return found.points_sensor_m, found.intensity


def texts(change: Callable[[Rng, str], str], plain: Callable[[Rng, str], str]) -> Callable[[Rng, Files], Case]:
    """Changes of one of the text files of an input; one in twelve changes nothing of meaning."""

    def mutate(rng: Rng, files: Files) -> Case:
        name = pick(rng, sorted(files))
        choice = rng.random()
        if choice < 0.08:
            return Case(files | {name: raw(rng, files[name])}, f"bytes of {name}")
        text = files[name].decode()
        if choice < 0.16:
            return Case(files | {name: plain(rng, text).encode()}, f"looks of {name}", True)
        for _ in range(int(pick(rng, (1, 1, 1, 2, 4)))):
            try:
                text = change(rng, text)
            except Exception:  # an earlier change broke the document's own structure
                break
        return Case(files | {name: text.encode("utf-8", "surrogatepass")}, f"{change.__name__} of {name}")

    return mutate


def bytes_of(fields: Callable[[Rng, bytes], bytes] = raw) -> Callable[[Rng, Files], Case]:
    """Changes of one of the binary files of an input, by its fields or anywhere."""

    def mutate(rng: Rng, files: Files) -> Case:
        name = pick(rng, sorted(files))
        change = fields if rng.random() < 0.75 else raw
        data = files[name]
        for _ in range(int(pick(rng, (1, 1, 2)))):
            with contextlib.suppress(Exception):  # an earlier change broke the file's own structure
                data = change(rng, data)
        return Case(files | {name: data}, f"{change.__name__} of {name}")

    return mutate


# sweeps


def pcd_seeds() -> Sequence[Files]:
    head = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity ring\nSIZE 4 4 4 {s} 2\nTYPE F F F {t} U\nCOUNT 1 1 1 1 1\n"
        "WIDTH 40\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 40\nDATA {d}\n"
    )
    ring = np.arange(40)
    rows = "\n".join(" ".join(f"{v:.4f}" for v in p) + f" {k}" for k, p in enumerate(POINTS))
    made = [(head.format(s=4, t="F", d="ascii") + rows + "\n").encode()]
    for size, kind, scale in ((4, "F", 1.0), (1, "U", 255), (2, "U", 65535)):
        data = np.zeros(40, [("p", "<f4", 3), ("i", f"<{kind.lower()}{size}"), ("r", "<u2")])
        data["p"], data["i"], data["r"] = POINTS[:, :3], POINTS[:, 3] * scale, ring
        made.append(head.format(s=size, t=kind, d="binary").encode() + data.tobytes())
        columns = b"".join(data["p"][:, k].tobytes() for k in range(3)) + data["i"].tobytes() + data["r"].tobytes()
        packed = b"".join(bytes([len(c) - 1]) + c for c in (columns[k : k + 32] for k in range(0, len(columns), 32)))
        made.append(
            head.format(s=size, t=kind, d="binary_compressed").encode()
            + struct.pack("<II", len(packed), len(columns))
            + packed
        )
    return [{"sweep.pcd": data} for data in made]


def pcd_head(rng: Rng, data: bytes) -> bytes:
    """The text before the points."""
    end = data.find(b"\n", data.find(b"DATA")) + 1
    head = data[:end].decode("latin-1")
    if rng.random() < 0.3:
        word = pick(
            rng, ("x", "y", "z", "intensity", "ring", "F", "U", "I", "4", "binary", "ascii", "binary_compressed", "1")
        )
        other = pick(
            rng, ("x", "rgb", "U", "I", "F", "8", "2", "1", "0", "-4", "3", "binary", "ascii", "binary_compressed")
        )
        head = head.replace(f" {word}", f" {other}", 1)
    else:
        head = table(rng, head)
    return head.encode("latin-1", "replace") + data[end:]


def las_seeds() -> Sequence[Files]:
    made = []
    for version, point, suffix in (("1.2", 1, "las"), ("1.4", 6, "las"), ("1.2", 3, "laz"), ("1.4", 6, "laz")):
        header = laspy.LasHeader(point_format=point, version=version)
        header.scales = np.array([0.001] * 3)
        las = laspy.LasData(header)
        las.x, las.y, las.z = POINTS[:, :3].T
        las.intensity = (POINTS[:, 3] * 65535).astype("u2")
        out = io.BytesIO()
        las.write(out, do_compress=suffix == "laz", laz_backend=laspy.LazBackend.Lazrs)
        made.append({f"sweep.{suffix}": out.getvalue()})
    return made


LAS_FIELDS = (
    (24, "B"), (25, "B"), (94, "H"), (96, "I"), (100, "I"), (104, "B"), (105, "H"), (107, "I"),
    (111, "I"), (131, "d"), (139, "d"),
    (147, "d"), (155, "d"), (179, "d"), (187, "d"), (227, "Q"), (235, "Q"), (243, "I"), (247, "Q"), (255, "Q"),
)  # fmt: skip


WHOLE = (0, 1, 2, 4, 34, 35, 60, 127, 128, 227, 255, 375, 65535, 2**31 - 1, 2**32 - 1, 2**40, 2**64 - 1)


def las_head(rng: Rng, data: bytes) -> bytes:
    """One field of the header or of the first record after it; of what the decompressor goes by, where there is one."""
    record = data.find(b"laszip encoded")
    at, kind = pick(rng, LAS_FIELDS)
    if record > 0 and rng.random() < 0.4:
        points_at = struct.unpack_from("<I", data, 96)[0]
        begin, length = pick(
            rng, ((record + 52, 52), (points_at, 112), (struct.unpack_from("<q", data, points_at)[0], 16))
        )
        at, kind = begin + 2 * int(rng.integers(length // 2)), pick(rng, "BHIQ")
    value: Any
    if kind == "d":
        value = pick(rng, (0.0, -1.0, 1e308, 1e-308, float("nan"), float("inf"), 1.0, 1e6))
    else:
        value = int(pick(rng, WHOLE)) & ((1 << 8 * struct.calcsize(kind)) - 1)
    changed = bytearray(data)
    if at + struct.calcsize(kind) <= len(changed):
        struct.pack_into("<" + kind, changed, at, value)
    return bytes(changed)


def bin_seeds() -> Sequence[Files]:
    return [{"000000.bin": POINTS.astype("<f4").tobytes()}]


def floats(rng: Rng, data: bytes) -> bytes:
    """One value of an array of float32 becomes an edge case."""
    changed = bytearray(data)
    value = pick(rng, (float("nan"), float("inf"), -1.0, 1e38, 255.0, 1e-40, 0.0, 3.0))
    if len(changed) >= 4:
        struct.pack_into("<f", changed, 4 * int(rng.integers(len(changed) // 4)), value)
    return bytes(changed)


# rasters


def tiff_seeds() -> Sequence[Files]:
    made = []
    for dtype, more in (
        ("uint8", {}), ("uint16", {"nodata": 0}), ("float32", {"nodata": float("nan"), "compress": "deflate"}),
        ("uint8", {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"}),
    ):  # fmt: skip
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="GTiff", width=40, height=32, count=1, dtype=dtype, crs="EPSG:25832",
                transform=rasterio.Affine(0.2, 0, 500000, 0, -0.2, 5400000), **more,
            ) as dataset:  # fmt: skip
                dataset.write((np.arange(1280).reshape(32, 40) % 200 + 1).astype(dtype), 1)
            made.append({"map.tif": bytes(memory.read())})
    return made


def tiff_tag(rng: Rng, data: bytes) -> bytes:
    """Number, type, count or value of one directory entry, or a value that one points to."""
    if len(data) < 8 or data[:2] != b"II":
        return raw(rng, data)
    changed = bytearray(data)
    at = struct.unpack_from("<I", data, 4)[0]
    if at + 2 > len(data):
        return raw(rng, data)
    count = max(1, min(struct.unpack_from("<H", data, at)[0], (len(data) - at - 2) // 12))
    entry = at + 2 + 12 * int(rng.integers(count))
    edges = (0, 1, 2, 3, 7, 8, 16, 64, 255, 32773, 65535, 2**31 - 1, 2**32 - 1, 1 << 20)
    if entry + 12 > len(changed):
        return raw(rng, data)
    kind = int(rng.integers(6))
    _, typed, many, value = struct.unpack_from("<HHII", data, entry)
    if kind == 0:
        struct.pack_into(
            "<H", changed, entry, int(pick(rng, (256, 257, 258, 259, 277, 33550, 33922, 34264, 34735, 42113, 0)))
        )
    elif kind == 1:
        struct.pack_into("<H", changed, entry + 2, int(pick(rng, (0, 1, 2, 3, 4, 5, 11, 12, 13, 16, 255))))
    elif kind == 2:
        struct.pack_into("<I", changed, entry + 4, int(pick(rng, edges)))
    elif kind == 3:
        struct.pack_into("<I", changed, entry + 8, int(pick(rng, edges)))
    elif kind == 4 and typed == 12 and value + 8 * many <= len(data):
        number = pick(rng, (0.0, -1.0, 1e308, float("nan"), float("inf"), 1e-308, 1e12))
        struct.pack_into("<d", changed, value + 8 * int(rng.integers(max(many, 1))), number)
    elif value + 2 * many <= len(data):
        struct.pack_into(
            "<H", changed, min(value + 2 * int(rng.integers(max(many, 1))), len(changed) - 2), int(rng.integers(65536))
        )
    return bytes(changed)


def raster(folder: Path) -> Any:
    with closing(open_raster(only(folder))) as source:
        grid = source.grid
        part = source.read(0, 0, min(grid.height_px, 512), min(grid.width_px, 512))
        return grid, np.where(part.observed, part.intensity, 0.0), part.observed


# tables of poses, lists, polylines


def table_seeds() -> Sequence[Files]:
    eye = "1 0 0 {x} 0 1 0 {y} 0 0 1 1.8\n"
    kitti = "".join(eye.format(x=k * 1.5, y=0.1 * k) for k in range(6))
    tum = "# time x y z qx qy qz qw\n" + "".join(
        f"{k * 0.1:.6f} {k * 1.5} {0.1 * k} 1.8 0 0 0.01 0.99995\n" for k in range(6)
    )
    calibration = "P0: 1 0 0 0 0 1 0 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n"
    names = "".join(f"db/{k}.jpg\n" for k in range(4))
    queries = "".join(f"db/{k}.jpg PINHOLE 640 480 500 500 320 240\n" for k in range(4))
    results = "".join(f"db/{k}.jpg 1 0 0 0 {k} 0.5 2\n" for k in range(4))
    rigs = "".join(
        f"r{k} db/{k}{s}.jpg PINHOLE 640 480 500 500 320 240 | 1 0 0 0 {x} 0 0\n"
        for k in range(2)
        for s, x in (("l", 0), ("r", 0.5))
    )
    return [
        {"kitti.txt": kitti.encode()}, {"tum.txt": tum.encode()}, {"calib.txt": calibration.encode()},
        {"names.txt": names.encode()},
        {"queries.txt": queries.encode()}, {"results.txt": results.encode()}, {"rigs.txt": rigs.encode()},
        {"pairs.txt": b"a.jpg b.jpg\na.jpg c.jpg\nb.jpg c.jpg\n"},
        {"poses.csv": b"name,x_m,y_m,heading_deg\na.png,1,2,30\nb.png,2,2.5,31\nc.png,3,3,32\n"},
        {"lines.csv": b"line,x_m,y_m\n1,0,0\n1,10,0\n1,20,1\n2,0,50\n2,10,50\n"},
        {"images.txt": results.encode()},
    ]  # fmt: skip


def read_table(folder: Path) -> Any:
    path = only(folder)
    if path.name in ("kitti.txt", "tum.txt"):
        found = poses.read_poses(path)
        return [pose.matrix for pose in found.world_SE3_sensors], found.times_s
    readers: dict[str, Callable[[Path], Any]] = {
        "calib.txt": lambda p: read_kitti_calibration(p).matrix,
        "names.txt": read_names,
        "queries.txt": read_query_list,
        "results.txt": read_results,
        "rigs.txt": read_rig_list,
        "pairs.txt": read_pairs,
        "poses.csv": lambda p: street_poses.read_pose_table(p).poses(),
        "lines.csv": lambda p: read_csv(p).street_map.graph,
        "images.txt": lambda p: image_poses.read_image_poses(p, [f"db/{k}.jpg" for k in range(4)]).camera_SE3_world,
    }
    return readers[path.name](path)


# scenes


def _model(suffix: str) -> Files:
    scene = small_scene(names=("a/1.jpg", "b.png", "empty.png", "z.png", "c/2.jpg"))
    keypoints, index = with_loose_keypoints(scene)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "sparse"
        write_model(scene, folder, keypoints, index, text=suffix == ".txt")
        return {f"sparse/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}


def read_colmap(folder: Path) -> Any:
    model = read_model_with_keypoints(folder / "sparse")
    return model.scene.points_world, model.scene.camera_SE3_world, model.scene.image_names, model.scene.tracks


def database_seeds() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.db"
        base = sqlite3.connect(path)
        base.executescript(
            "CREATE TABLE cameras(camera_id INTEGER PRIMARY KEY,model INTEGER,width INTEGER,height INTEGER,params BLOB,"
            "prior_focal_length INTEGER);"
            "CREATE TABLE images(image_id INTEGER PRIMARY KEY,name TEXT UNIQUE,camera_id INTEGER);"
            "CREATE TABLE keypoints(image_id INTEGER PRIMARY KEY,rows INTEGER,cols INTEGER,data BLOB);"
            "CREATE TABLE descriptors(image_id INTEGER PRIMARY KEY,rows INTEGER,cols INTEGER,data BLOB);"
        )
        for number in range(1, 4):
            xy = np.arange(20, dtype="<f4").reshape(5, 4) + number
            base.execute("INSERT INTO images VALUES(?,?,1)", (number, f"{number}.jpg"))
            base.execute("INSERT INTO keypoints VALUES(?,5,4,?)", (number, xy.tobytes()))
            looks = np.random.default_rng(number).integers(0, 256, 640, dtype=np.uint8)
            base.execute("INSERT INTO descriptors VALUES(?,5,128,?)", (number, looks.tobytes()))
        base.commit()
        base.close()
        return [{"features.db": path.read_bytes()}]


def database_cell(rng: Rng, data: bytes) -> bytes:
    """One cell, row or table of the database."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.db"
        path.write_bytes(data)
        base = sqlite3.connect(path)
        base.execute("PRAGMA synchronous=OFF")
        base.execute("PRAGMA journal_mode=MEMORY")
        try:
            name = pick(rng, ("images", "keypoints", "descriptors"))
            columns = [row[1] for row in base.execute(f"PRAGMA table_info({name})")] or ["data"]
            value = pick(rng, (0, 1, -1, 2**31, 2**62, None, "", "x", "é", b"", b"\xff", b"\0" * 7, 1.5, float("inf")))
            kind = int(rng.integers(8))
            if kind == 0:
                base.execute(f"DROP TABLE {name}")
            elif kind == 1:
                base.execute(f"DELETE FROM {name} WHERE image_id = {int(rng.integers(1, 4))}")
            elif kind == 2:
                base.execute(f"ALTER TABLE {name} RENAME COLUMN {pick(rng, columns)} TO other")
            else:
                key = int(rng.integers(1, 4))
                base.execute(f"UPDATE {name} SET {pick(rng, columns)} = ? WHERE image_id = {key}", (value,))
            base.commit()
        except (sqlite3.Error, OverflowError):
            base.rollback()
        finally:
            base.close()
        return path.read_bytes()


def read_source(source: Any) -> Any:
    found = []
    for name in source.names():
        one = source.load(name)
        found.append((name, one if isinstance(one, np.ndarray) else (one.xy_px, one.descriptors)))
    return found


def read_database(folder: Path) -> Any:
    with closing(ColmapDatabase(only(folder))) as source:
        return source.feature, read_source(source)


def kapture_seeds() -> Sequence[Files]:
    from test_formats_kapture import write as write_kapture

    made = []
    for version in ("1.0", "1.1"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = write_kapture(Path(scratch), version)
            made.append(
                {
                    str(path.relative_to(folder)): path.read_bytes()
                    for path in sorted(folder.rglob("*"))
                    if path.is_file()
                }
            )
    return made


def kapture_change(rng: Rng, files: Files) -> Case:
    name = pick(rng, sorted(files))
    if not name.endswith(".txt"):
        return Case(files | {name: pick(rng, (raw, floats))(rng, files[name])}, f"bytes of {name}")
    if rng.random() < 0.05:
        return Case({key: data for key, data in files.items() if key != name}, f"no {name}")
    part = texts(table, lambda _, text: text.rstrip("\n") + "\n# a comment\n")(rng, {name: files[name]})
    return Case(files | part.files, part.change, part.neutral)


def read_kapture_folder(folder: Path) -> Any:
    scene, keypoint = read_kapture(folder)
    return scene.points_world, scene.camera_SE3_world, scene.image_names, keypoint, read_source(KaptureFeatures(folder))


# HDF5 layouts


def hdf5_seeds() -> Sequence[Files]:
    made: list[Files] = []
    draw = np.random.default_rng(3)
    for half in (True, False):
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            for name in ("db/a.jpg", "db/b.jpg", "c.jpg"):
                group = file.create_group(name)
                group["keypoints"] = draw.uniform(0, 400, (6, 2)).astype(np.float32)
                group["descriptors"] = draw.normal(size=(8, 6)).astype(np.float16 if half else np.float32)
                group["scores"] = np.ones(6, np.float32)
                group["image_size"] = np.array([640, 480])
        made.append({"feats.h5": out.getvalue()})
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name in ("db/a.jpg", "c.jpg"):
            file.create_group(name)["global_descriptor"] = draw.normal(size=16).astype(np.float32)
    made.append({"globals.h5": out.getvalue()})
    return made


def hdf5_node(rng: Rng, data: bytes) -> bytes:
    """One dataset, group, link or attribute."""
    out = io.BytesIO(data)
    try:
        with h5py.File(out, "r+") as file:
            nodes: list[str] = []
            file.visit(nodes.append)
            sets = [name for name in nodes if isinstance(file[name], h5py.Dataset)]
            name = pick(rng, sets)
            old = np.asarray(file[name][()]) if file[name].size < 10**6 else np.zeros((2, 2))
            kind = int(rng.integers(12))
            del file[name]
            if kind == 0:
                file[name] = old.T if old.ndim > 1 else old[:, None]
            elif kind == 1:
                file[name] = old[: len(old) // 2]
            elif kind == 2:
                file[name] = pick(rng, (np.float64, np.int8, np.complex64, np.uint64, np.bool_))(0) + np.zeros(
                    old.shape
                )
            elif kind == 3:
                file[name] = old.astype(pick(rng, ("f8", "i1", "u1", "c8", "S4", ">f4", "f2")))
            elif kind == 4:
                file[name] = pick(
                    rng, ("text", b"bytes", 3, [], np.zeros((0, 2)), np.zeros((3, 3, 3)), h5py.Empty("f4"))
                )
            elif kind == 5:
                old.reshape(-1)[0] = pick(rng, (np.nan, np.inf, -1, 60000)) if old.dtype.kind == "f" else 2**31
                file[name] = old
            elif kind == 6:
                file.create_dataset(
                    name, shape=(2**40, 2) if rng.random() < 0.5 else (10**8, 256), dtype="f4", chunks=True
                )
            elif kind == 7:
                file[name] = pick(
                    rng,
                    (
                        h5py.SoftLink("/nowhere"),
                        h5py.SoftLink("/"),
                        h5py.SoftLink(f"/{name}"),
                        h5py.ExternalLink("other.h5", "/x"),
                    ),
                )
            elif kind == 8:
                file.create_group(name)["deep"] = old
            elif kind == 9:
                file[pick(rng, sets).rsplit("/", 1)[0] + "/other"] = old
            elif kind == 10:
                file[name] = np.zeros((len(old), 2), np.dtype([("x", "f4"), ("y", "i4")]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError):
        return data
    return out.getvalue()


def read_hdf5(folder: Path) -> Any:
    path = only(folder)
    if path.name == "feats.h5":
        with closing(HlocFeatures(path)) as features:
            return read_source(features)
    with closing(HlocGlobals(path)) as whole:
        return read_source(whole)


def camera_families() -> list[Family]:
    """Of sweeps, rasters, tables and scenes."""
    return [
        Family("pcd", pcd_seeds, bytes_of(pcd_head), sweep),
        Family("las", las_seeds, bytes_of(las_head), sweep),
        Family("bin", bin_seeds, bytes_of(floats), sweep),
        Family("geotiff", tiff_seeds, bytes_of(tiff_tag), raster),
        Family("tables", table_seeds, texts(table, plain_table), read_table),
        Family("colmap-text", lambda: [_model(".txt")], texts(table, plain_table), read_colmap),
        Family("colmap-binary", lambda: [_model(".bin")], bytes_of(), read_colmap),
        Family("colmap-database", database_seeds, bytes_of(database_cell), read_database),
        Family("kapture", kapture_seeds, kapture_change, read_kapture_folder, 30),
        Family("hdf5", hdf5_seeds, bytes_of(hdf5_node), read_hdf5),
    ]
