"""``foldmap unfold`` of a scene: its decoded points as a PLY file that viewers open, or everything as NPZ."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import require_file, require_folder, write_bytes

if TYPE_CHECKING:
    from foldmap.types import DoubleArray
    from foldmap.visual.unfold import FoldedVisual


def unfold_scene(path: Path, output: Path) -> dict[str, Any]:
    """Write the decoded points of a visual layer.

    Args:
        path: the .fold file.
        output: .ply (positions) or .npz (points_world, descriptors; image_names and camera_SE3_world where the file
            keeps images).

    Raises:
        FoldmapError: the file has no visual layer or is damaged, or the output cannot be written.
    """
    from foldmap.atlas import FoldFile
    from foldmap.visual.unfold import FoldedVisual

    require_file(path)
    require_folder(output)
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        points_world = folded.whole().points_world
        payload = ply_bytes(points_world) if output.suffix.lower() == ".ply" else _npz(folded)
    write_bytes(output, payload)
    return {"file": str(output), "points": len(points_world), "file_bytes": len(payload)}


def ply_bytes(points_world: DoubleArray) -> bytes:
    """Points float64 (P, 3) as binary PLY."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points_world)}\n"
    head += "property double x\nproperty double y\nproperty double z\nend_header\n"
    return head.encode("ascii") + bytes(points_world.astype("<f8").tobytes())


def _npz(folded: FoldedVisual) -> bytes:
    import numpy as np

    whole = folded.whole()
    arrays: dict[str, Any] = {"points_world": whole.points_world, "descriptors": whole.descriptors}
    if folded.groups:
        images = folded.images()
        arrays["camera_SE3_world"] = images.camera_SE3_world
        if images.image_names is not None:
            arrays["image_names"] = np.array(images.image_names)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
