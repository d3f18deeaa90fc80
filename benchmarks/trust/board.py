"""What the rows of trust share: maps that are made as users make them, and what is answered in them."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from benchmarks.context import Board, Report
from benchmarks.evidence.seals import code_seal
from benchmarks.lines import RowSkipped
from benchmarks.street.data import StreetBoard
from foldmap.api.folding import VisualOptions, fold
from foldmap.bench.trust.answers import Answer, Stage
from foldmap.bench.trust.photo_changes import ELSEWHERE, KINDS, TOWN
from foldmap.bench.trust.photos import Asked, PhotoSet, Taken, ask_photos, other_photos, right_photos
from foldmap.bench.visual.protocol import block_names
from foldmap.cli.build.visual import build_visual
from foldmap.errors import MissingExtraError, ModelError
from foldmap.formats.scenes import read_scene
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.visual.decoded import UnfoldedMap
from foldmap.visual.features.extract import Extractor, ExtractorSettings, open_extractor
from foldmap.visual.features.photo_names import find_images
from foldmap.visual.scene.build import SceneSettings

WEIGHTS = {"sift": None, "aliked-n16": "aliked-n16.pth", "xfeat": "xfeat-kornia.pt"}
"""Features that are measured, and the files of their networks in ``shared/weights``."""
KB = 1000
_KEYPOINTS = 2048
AS_TAKEN = "as taken"
_BUILDS = "foldmap.visual.scene.build"


class TrustBoard(Board):
    """Recordings of all layers, read once; maps of them, made once.

    Args:
        shared: folder with ``data`` and ``weights``.
        threads: of extractors and torch.
        quiet: no progress on stderr.
        kept: folder where built scenes, maps of them and their answers are kept between runs; None keeps them for this
            run.
        queries: hostile queries a kind and map, and drives; None for what each row says.
        photo_maps: like "sift:60", or of one scene like "bonsai:xfeat:60": of the maps of photos these alone are asked,
            and no other layer's; all where empty.
    """

    def __init__(
        self,
        shared: Path,
        threads: int = 2,
        quiet: bool = False,
        kept: Path | None = None,
        queries: int | None = None,
        photo_maps: tuple[str, ...] = (),
    ) -> None:
        super().__init__(shared / "data" / "lidar", (), threads, quiet)
        self.root, self.queries, self.photo_maps = shared, queries, photo_maps
        self._scratch = tempfile.TemporaryDirectory(prefix="foldmap-trust-")
        self._kept_folder = kept

    @property
    def _keeps(self) -> Path:
        return self._kept_folder or self.scratch

    @property
    def scratch(self) -> Path:
        """A folder that goes when the board does."""
        return Path(self._scratch.name)

    def close(self) -> None:
        """Remove what was kept for this run."""
        super().close()
        if "street" in vars(self):
            self.street.close()
        self._scratch.cleanup()

    @cached_property
    def street(self) -> StreetBoard:
        """The street layer's recordings."""
        return StreetBoard(self.root / "data" / "street", self.threads, self.quiet)

    @property
    def stage(self) -> Stage:
        """Progress of the trust benchmark."""

        def begin(name: str) -> Report:
            return self.report(name)

        return begin

    def extractor(self, feature: str) -> Extractor:
        """An extractor of maps' features, opened once.

        Raises:
            RowSkipped: its weights or what it runs on are not here.
        """
        file = WEIGHTS[feature]
        weights = None if file is None else self.root / "weights" / file
        if weights is not None and not weights.is_file():
            raise RowSkipped(f"skipped: no weights at {weights}")
        settings = ExtractorSettings(max_keypoints=_KEYPOINTS)

        def make() -> Extractor:
            try:
                return open_extractor(feature, weights, settings, threads=self.threads)
            except (MissingExtraError, ModelError) as error:
                raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error

        return self.shared(("extractor", feature), make)  # type: ignore[no-any-return]

    def photos_of(self, scene: str) -> Path:
        """The folder of a recorded scene's photos; a RowSkipped where it is not here."""
        folder = self.root / "data" / "visual" / scene
        if not (folder / "sparse").is_dir():
            raise RowSkipped(f"skipped: no scene at {folder}")
        return folder / "images"

    def asked(self, scene: str) -> list[Taken]:
        """Photos that are asked: blocks of the recording, none of which the map is made of."""

        def make() -> list[Taken]:
            photos = self.photos_of(scene)
            wanted = set(block_names(find_images(photos)))
            return [one for one in right_photos(photos, photos.parent / "sparse") if one.name in wanted]

        return self.shared(("asked", scene), make)  # type: ignore[no-any-return]

    def scene(self, scene: str, feature: str) -> Path:
        """A scene built of the photos that are not asked, with the recording's poses, by ``foldmap build visual``.

        Kept scenes are of this very code that builds; all rows share them.
        """

        def make() -> Path:
            self.extractor(feature)
            photos = self.photos_of(scene)
            folder = self._keeps / f"trust-{scene}-{feature}-{_KEYPOINTS}-{code_seal(_BUILDS)[:12]}"
            if (folder / "scene.json").is_file():
                return folder
            inside = self.scratch / f"{scene}-photos"
            wanted = set(block_names(find_images(photos)))
            for name in find_images(photos):
                link = inside / name
                if name not in wanted and not link.exists():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(photos / name)
            file = WEIGHTS[feature]
            settings = SceneSettings(
                feature=feature,
                weights=None if file is None else self.root / "weights" / file,
                extractor=ExtractorSettings(max_keypoints=_KEYPOINTS),
                matching="sequential",
                threads=self.threads,
            )
            folder.parent.mkdir(parents=True, exist_ok=True)
            self.report(f"building {scene} of {feature}")(0, 1)
            build_visual(inside, folder, settings, poses=photos.parent / "sparse")
            return folder

        return self.shared(("scene", scene, feature), make)  # type: ignore[no-any-return]

    def file(self, scene: str, feature: str, kilobytes: int) -> Path:
        """A scene folded within a budget, by ``foldmap fold --budget``; a RowSkipped where it is left out.

        Kept maps are of this very code that folds; what was loaded to make them counts as used by who asks them.
        """
        names = {f"{feature}:{kilobytes}", f"{scene}:{feature}:{kilobytes}"}
        if self.photo_maps and not names & set(self.photo_maps):
            raise RowSkipped("skipped: left out by --photo-map")

        def make() -> Path:
            seal = "-".join(code_seal(module)[:12] for module in (_BUILDS, "foldmap.api.folding"))
            path = self._keeps / f"{scene}-{feature}-{kilobytes}kB-{seal}.fold"
            if not (path.is_file() and _recalled(path)):
                fold(self.scene(scene, feature), path, budget=kilobytes * KB, visual=VisualOptions())
                _remember(path)
            return path

        return self.shared(("file", scene, feature, kilobytes), make)  # type: ignore[no-any-return]

    def set_of(self, scene: str, others: tuple[str, ...], count: int, kinds: tuple[str, ...] = ()) -> PhotoSet:
        """Photos of a scene, and those of others as photos of elsewhere; features are shared by all maps."""
        features = self.shared(("features", scene), dict)
        elsewhere = other_photos([self.photos_of(other) for other in others])
        return PhotoSet(self.asked(scene), elsewhere, count, kinds, features=features)

    def photo_answers(
        self, scene: str, feature: str, kilobytes: int, photos: PhotoSet, truth: str = "given"
    ) -> list[Answer]:
        """Answers of a folded map, each kind asked once, and for every name of what is held for the truth.

        Kept answers are of this very code that asks, and of this very map.
        """
        path, asks = self.file(scene, feature, kilobytes), code_seal("foldmap.bench.trust.photos")
        name = f"{scene}, {feature}, {kilobytes} KB"

        def kept(kind: str) -> Path:
            asked = hashlib.sha256(f"{photos.count} {kind} {truth} {asks}".encode()).hexdigest()
            return path.with_name(f"{path.stem}-{asked[:12]}.json")

        every = [kind.name for kind in KINDS] + [ELSEWHERE, TOWN]
        files = {kind: kept(kind) for kind in every if not photos.kinds or kind.startswith(photos.kinds)}
        left = tuple(kind for kind, file in files.items() if not (file.is_file() and _recalled(file)))
        new: Iterable[Answer] = ()
        if left:
            new = ask_photos(path, name, replace(photos, kinds=left), self.extractor, self.stage)
        for kind, answers in groupby(new, attrgetter("kind")):
            files[kind].write_text(json.dumps([one.row() for one in answers]), encoding="utf-8")
            _remember(files[kind])
        told = [file.read_text(encoding="utf-8") for file in files.values() if file.is_file()]
        return [Answer.read(row) for rows in told for row in json.loads(rows)]

    def whole_map_set(self, scene: str, feature: str) -> PhotoSet:
        """The scene's own photos that its map as it was built, unfolded, localizes, with the poses that it gives them.

        What a folded map errs beside these is its own: where the recording's poses err, both err alike.
        """

        def make() -> PhotoSet:
            folder, photos = self.scene(scene, feature), self.set_of(scene, (), len(self.asked(scene)), (AS_TAKEN,))
            kept = self._keeps / f"{folder.name}-{code_seal('foldmap.bench.trust.photos')[:12]}.json"
            if not (kept.is_file() and _recalled(kept)):
                localizer = VisualLocalizer(UnfoldedMap(read_scene(folder)))
                ((kind, taken),) = photos.plan()
                told, poses = self.stage(f"{scene}, {feature}, unfolded"), dict[str, list[list[float]]]()
                for number, one in enumerate(taken):
                    asked = Asked.of(kind, one, number, feature, photos, self.extractor)
                    pose = localizer.localize(asked.query()).pose
                    if pose is not None:
                        poses[one.name] = pose.tolist()
                    told(number + 1, len(taken))
                kept.write_text(json.dumps(poses), encoding="utf-8")
                _remember(kept)
            found = json.loads(kept.read_text(encoding="utf-8"))
            right = [
                replace(one, camera_SE3_world=np.array(found[one.name])) for one in photos.right if one.name in found
            ]
            return replace(photos, right=right)

        return self.shared(("unfolded", scene, feature), make)  # type: ignore[no-any-return]

    def each(self, key: tuple[object, ...], make: Callable[[], list[Answer]]) -> list[Answer]:
        """Answers of another layer, asked once a run."""
        return self.shared(("answers", *key), make)  # type: ignore[no-any-return]


def trust(board: Board) -> TrustBoard:
    """The board as these rows need it; a RowSkipped where it is another layer's."""
    if not isinstance(board, TrustBoard):
        raise RowSkipped("skipped: this row needs the trust board")
    return board


def _remember(made: Path) -> None:
    """Write beside what was made which of foldmap's modules are loaded: who reads it uses their code."""
    names = sorted(one for one in sys.modules if one.startswith("foldmap."))
    made.with_suffix(".txt").write_text("\n".join(names), encoding="utf-8")


def _recalled(made: Path) -> bool:
    """Load the modules by which something was made; whether it is known which."""
    used = made.with_suffix(".txt")
    if not used.is_file():
        return False
    for name in used.read_text(encoding="utf-8").split():
        importlib.import_module(name)
    return True
