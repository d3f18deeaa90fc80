"""Write the newest golden file of the visual layer: ``python tests/visual/write_visual_golden.py``."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from point_shell import scene

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.fold import VisualPlan
from foldmap.visual.scene.average import track_means
from foldmap.visual.unfold import FoldedVisual

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def write(path: Path) -> None:
    """A small map with several tiles, images, a vocabulary, and a basis of its own inside."""
    model = scene(7, points=500, images=10, dimension=16)
    means = track_means(model)
    codec = Transform(fit_basis(means, 12), 0.1, standard=False)
    with FoldWriter(path) as writer:
        plan = VisualPlan(np.arange(len(means)), codec, images=True, group=2, tile_points=80)
        fold_calibrated(writer, model, plan, means=means)
        writer.commit()


def read(path: Path) -> dict[str, Any]:
    """What a reader learns: whole numbers exactly (as digests), the others rounded."""
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        tiles = [folded.tile(number) for number in range(folded.tiles)]
        images = folded.images()
        retriever = folded.retriever()
        visible = np.concatenate([tile.visible for tile in tiles if tile.visible is not None])
        points = np.concatenate([tile.points_world for tile in tiles])
        looks = np.concatenate([tile.descriptors for tile in tiles])
        globals_ = retriever.descriptors
        sides = [np.round(tile.seen_from[::5], 3).tolist() for tile in tiles if tile.seen_from is not None]
        return {
            **({"seen_from": sides} if sides else {}),
            "parameters": folded.parameters,
            "points": [len(tile) for tile in tiles],
            "points_world": hashlib.blake2b(points.astype("<f8").tobytes(), digest_size=16).hexdigest(),
            "visible": hashlib.blake2b(np.packbits(visible).tobytes(), digest_size=16).hexdigest(),
            "descriptors": np.round(looks[::20].astype(float), 3).tolist(),
            "names": images.image_names,
            "poses": hashlib.blake2b(images.camera_SE3_world.astype("<f8").tobytes(), digest_size=16).hexdigest(),
            "globals": np.round(globals_[:, ::50].astype(float), 3).tolist(),
        }


if __name__ == "__main__":
    write(GOLDEN / "v1-visual-sides.fold")
    (GOLDEN / "v1-visual-sides.json").write_text(json.dumps(read(GOLDEN / "v1-visual-sides.fold"), indent=1) + "\n")
