"""What the rows of trust share: maps that are made as users make them, and what is answered in them."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from benchmarks.context import Board, Report
from benchmarks.evidence.seals import code_seal
from benchmarks.lines import RowSkipped
from benchmarks.street.data import StreetBoard
from foldmap.api.folding import VisualOptions, fold
from foldmap.bench.trust.answers import Answer, Stage
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


class TrustBoard(Board):
    """Recordings of all layers, read once; maps of them, made once.

    Args:
        shared: folder with ``data`` and ``weights``.
        threads: of extractors and torch.
        quiet: no progress on stderr.
        kept: folder where built scenes and maps of them are kept between runs; None keeps them for this run.
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
        """A scene built of the photos that are not asked, with the recording's poses, by ``foldmap build visual``."""

        def make() -> Path:
            self.extractor(feature)
            photos = self.photos_of(scene)
            folder = (self._kept_folder or self.scratch) / f"trust-{scene}-{feature}-{_KEYPOINTS}"
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
            seal = code_seal("foldmap.api.folding")[:12]
            path = (self._kept_folder or self.scratch) / f"{scene}-{feature}-{kilobytes}kB-{seal}.fold"
            used = path.with_suffix(".txt")
            if path.is_file() and used.is_file():
                for name in used.read_text(encoding="utf-8").split():
                    importlib.import_module(name)
                return path
            fold(self.scene(scene, feature), path, budget=kilobytes * KB, visual=VisualOptions())
            used.write_text(
                "\n".join(sorted(one for one in sys.modules if one.startswith("foldmap."))), encoding="utf-8"
            )
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
        """Answers of a folded map, asked once a run, and for every name of what is held for the truth."""
        key = ("answers", scene, feature, kilobytes, photos.count, photos.kinds, truth)
        path = self.file(scene, feature, kilobytes)
        name = f"{scene}, {feature}, {kilobytes} KB"
        return self.shared(key, lambda: list(ask_photos(path, name, photos, self.extractor, self.stage)))  # type: ignore[no-any-return]

    def whole_map_set(self, scene: str, feature: str) -> PhotoSet:
        """The scene's own photos that its map as it was built, unfolded, localizes, with the poses that it gives them.

        What a folded map errs beside these is its own: where the recording's poses err, both err alike.
        """

        def make() -> PhotoSet:
            localizer = VisualLocalizer(UnfoldedMap(read_scene(self.scene(scene, feature))))
            photos = self.set_of(scene, (), len(self.asked(scene)), (AS_TAKEN,))
            ((kind, taken),) = photos.plan()
            told, found = self.stage(f"{scene}, {feature}, unfolded"), list[Taken]()
            for number, one in enumerate(taken):
                asked = Asked.of(kind, one, number, feature, photos, self.extractor)
                pose = localizer.localize(asked.query()).pose
                if pose is not None:
                    found.append(replace(one, camera_SE3_world=pose))
                told(number + 1, len(taken))
            return replace(photos, right=found)

        return self.shared(("unfolded", scene, feature), make)  # type: ignore[no-any-return]

    def each(self, key: tuple[object, ...], make: Callable[[], list[Answer]]) -> list[Answer]:
        """Answers of another layer, asked once a run."""
        return self.shared(("answers", *key), make)  # type: ignore[no-any-return]


def trust(board: Board) -> TrustBoard:
    """The board as these rows need it; a RowSkipped where it is another layer's."""
    if not isinstance(board, TrustBoard):
        raise RowSkipped("skipped: this row needs the trust board")
    return board
