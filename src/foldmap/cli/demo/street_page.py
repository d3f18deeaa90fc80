"""What ``foldmap demo``'s report shows of the street layer."""

from pathlib import Path
from typing import Any

import numpy as np

from foldmap.cli.demo.street import DemoStreets, Retrieved, retrieval_rows
from foldmap.cli.demo.street_drive import Driven, drive_rows, errors_m
from foldmap.cli.demo.street_update import line_of, update_rows
from foldmap.report import Page
from foldmap.report.street_map import street_map
from foldmap.report.street_windows import WindowRow, change_map, error_line, window_rows
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.shape import birds_eye
from foldmap.street.images.observation import AerialCrop, Observation
from foldmap.types import ByteArray, DoubleArray

_AHEAD_DEG = 60.0
_CROP_M = 15.0


def add_street(page: Page, path: Path, made: DemoStreets) -> None:
    """Append the street layer's tables and pictures."""
    page.heading("Lanes in the same file")
    page.text(
        f"The town's lane graph, {made.folded.lane_km:.1f} km of lanes, was folded into the same file with an "
        f"embedding of its surroundings at each of {made.folded.places:,} places. What cameras see on another day is "
        "embedded into the same space: so images find lane graphs. Images from above are rendered; frames of seven "
        "cameras are those images as the cameras would see them on flat ground (semi-synthetic), or traced ray by ray "
        "with facades and vehicles, where it says so."
    )
    page.table(
        byte_rows(path, made),
        {"what": "what", "bytes": "bytes", "each": "bytes a lane-km"},
        "Where the bytes of the street layer go; the embeddings and the network are most of it.",
    )
    _show_changes(page, made)
    page.heading("Images find lane graphs", 3)
    page.table(
        retrieval_rows(made.retrieved),
        {
            "kind": "seen",
            "queries": "queries",
            "random_m": "random [m]",
            "chamfer_m": "retrieved [m]",
            "oracle_m": "oracle [m]",
            "way": "of the way [%]",
            "near": "place within 5 m",
        },
        "Mean Chamfer distance to the true graph, of the graph retrieved from the whole file; random is the mean over "
        "all places, oracle the best graph of the file.",
    )
    page.figure(
        _rows_picture(made),
        "What was seen, the ground that the network reads out of it, the true lanes, and the graph that the file gave. "
        "Ahead is up; colours are driving directions, thin lines are turning links.",
    )
    if made.driven is not None:
        _show_drive(page, made.driven)


def byte_rows(path: Path, made: DemoStreets) -> list[dict[str, Any]]:
    """Bytes of the street layer by use, and of the whole file."""
    km = made.folded.lane_km
    rows = [(f"street layer: {use}", size) for use, size in made.folded.bytes.items() if size]
    rows.append(("street layer in the file, overhead included", made.layer_bytes))
    named = [{"what": name, "bytes": size, "each": size / km} for name, size in rows]
    return [*named, {"what": "whole file, all layers", "bytes": path.stat().st_size}]


def _show_changes(page: Page, made: DemoStreets) -> None:
    updated = made.updated
    if updated is None:
        return
    page.heading("The map was out of date", 3)
    wrote = updated.wrote
    page.text(
        f"The map that was folded had {len(updated.aged.edits)} known faults. The cameras drove past each "
        f"({len(updated.poses)} frames); {len(updated.changes)} changes were found, {updated.wrong} of them where "
        f"nothing had changed, and written into the file as one transaction: {len(wrote.embedded)} tiles, {wrote.kept} "
        "stayed as they were. "
        f"Map and truth differed by {updated.off_m[0]:.0f} m of lane before and by {updated.off_m[1]:.0f} m after."
    )
    page.table(
        update_rows(updated),
        {"edit": "the map's fault", "length_m": "length [m]", "expected": "the world's change", "found": "found"},
    )
    for number, edit in enumerate(updated.aged.edits):
        line = line_of(edit)
        near = [change for change in updated.changes if _touches(change.line_m, line)]
        image, west, north, pixel = _cut(made, line)
        page.figure(
            change_map(image, west, north, pixel, near, updated.old),
            f"Fault {number + 1}: {edit.kind}. White: the map as it was; "
            + ("; ".join(f"{c.kind}, confidence {c.confidence:.2f}" for c in near) or "nothing was found")
            + ".",
        )


def _touches(one_m: DoubleArray, other_m: DoubleArray) -> bool:
    low, high = other_m.min(0) - _CROP_M, other_m.max(0) + _CROP_M
    return bool(((np.median(one_m, 0) >= low) & (np.median(one_m, 0) <= high)).all())


def _cut(made: DemoStreets, line_m: DoubleArray) -> tuple[ByteArray, float, float, float]:
    """The ground about a line from above: image, its west and north edges, and its pixel size."""
    ground = made.tile.ground
    middle, half = (line_m.max(0) + line_m.min(0)) / 2, float(np.ptp(line_m, axis=0).max()) / 2 + _CROP_M
    left, top = np.floor(ground.xy_px(np.array([[middle[0] - half, middle[1] + half]]))[0]).astype(int).clip(0)
    right, bottom = np.ceil(ground.xy_px(np.array([[middle[0] + half, middle[1] - half]]))[0]).astype(int)
    grid = ground.grid
    image = ground.image[top:bottom, left:right]
    return image, grid.west_m + left * grid.resolution_m, grid.north_m - top * grid.resolution_m, grid.resolution_m


def _rows_picture(made: DemoStreets) -> bytes:
    """Two places of each kind: the best and the median by Chamfer distance."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in made.retrieved):
        some = sorted((one for one in made.retrieved if one.kind == kind), key=lambda one: one.chamfer_m)
        for place, one in (("best", some[0]), ("median" if len(some) > 2 else "worse", some[len(some) // 2])):
            if place != "best" and one is some[0]:
                continue
            pictures = [("seen", seen_strip(one.pair.observation)), ("ground", _ground(made.model, one))]
            graphs = [("true lanes", one.pair.graph), (f"retrieved, {one.chamfer_m:.2f} m", one.best)]
            of = f"{place} of {len(some)}" if len(some) > 1 else "the only one"
            rows.append(WindowRow(f"{kind}\n({of})", pictures, graphs))
    return window_rows(rows, made.model.window)


def _ground(model: FieldEmbedding, one: Retrieved) -> ByteArray:
    """What the network looks at; white where no camera sees ground."""
    image, seen = birds_eye(model.field)(one.pair.observation)
    shown: ByteArray = np.where(seen[..., None], image, np.uint8(255))
    return shown


def seen_strip(observation: Observation) -> ByteArray:
    """The crop, or the cameras of a ring that look ahead, from left to right, beside each other."""
    if isinstance(observation, AerialCrop):
        return observation.image
    ring = observation.ring
    axis = ring.vehicle_SE3_camera[:, :2, 2]
    yaw = np.degrees(np.arctan2(axis[:, 1], axis[:, 0]))
    order = [k for k in np.argsort(-yaw) if abs(yaw[k]) <= _AHEAD_DEG and observation.images[k] is not None]
    images = [image for k in order if (image := observation.images[k]) is not None]
    height = min(image.shape[0] for image in images)
    return np.concatenate([image[:height] for image in images], axis=1)


def _show_drive(page: Page, driven: Driven) -> None:
    page.heading("Where on the map", 3)
    page.table(
        drive_rows(driven),
        {
            "what": "what",
            "frames": "frames",
            "ok": "ok",
            "degraded": "degraded",
            "ambiguous": "ambiguous",
            "no_match": "no match",
            "median_m": "median [m]",
            "within_5_m": "within 5 m",
            "final_m": "last frame [m]",
        },
        "The vehicle may be anywhere on the map at first. Poses are answered with the first two statuses, the others "
        "refuse; median and share are of the answered frames. Streets of another town can look like some of this one "
        "for a while, which a pose that is degraded warns of. "
        f"A step of the filter takes {1000 * driven.seconds:.1f} ms.",
    )
    count = len(driven.truth)
    first, last = "Probability of each place on the map after the first frame.", f"The same after {count} frames."
    for number, caption in ((1, first), (count, last)):
        estimate = driven.estimates[number - 1]
        title = f"Frame {number}: {estimate.status.value}"
        picture = street_map(driven.places, estimate.belief, driven.truth[:number], estimate, title)
        page.figure(picture, caption)
    apart = [0.0] + [
        float(np.hypot(b.x_m - a.x_m, b.y_m - a.y_m)) for a, b in zip(driven.truth[:-1], driven.truth[1:], strict=True)
    ]
    both = {"filter along lanes": driven.estimates, "each frame alone": driven.singles}
    page.figure(
        error_line(
            np.cumsum(apart),
            {name: errors_m(driven.truth, estimates) for name, estimates in both.items()},
            {name: np.array([one.pose is not None for one in estimates]) for name, estimates in both.items()},
            "Error along the drive",
        ),
        "Filled marks were answered; hollow ones are what would be said if something had to be. Dashed: 5 m.",
    )
