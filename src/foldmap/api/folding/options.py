"""What a user may say about folding, layer by layer. None leaves a thing to its default or to the planner."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from foldmap.errors import ConfigError

EMBEDDINGS = {"half": "float16", "int8": "int8", "int4": "int4", "1bit": "1bit", "pq": "pq", "none": "none"}
"""How embeddings of street places are stored, in a user's words and in those of `foldmap.street.fold.StreetPlan`."""

Report = Callable[[int, int], None]
Note = Callable[[str], None]
Begin = Callable[[str], Report]
"""Called with the name of a kind of work; what it gives is called with how much is done and how much there is."""
Beside = Callable[[dict[str, Any]], None]
"""Called with what is told of a file that is whole and not yet in its place."""


@dataclass(frozen=True)
class LidarOptions:
    """Of a raster.

    Attributes:
        codec: marks, learned, or auto: what is smallest of those that localize about best, measured on the map itself.
        model: a model file of ``foldmap train lidar``; a shipped one where None.
        rate: most bits per m2 of observed ground.
        band: that holds intensity, from 1.
        relief_band: that holds the variance of heights in each pixel, m2, and is mixed in.
        tile_blocks: blocks of 512 px a tile side, 1 to 16; 2.
        embed_model: put a shipped model into the file, too; else the file names it.
        before: in an update, the raster that was folded: only tiles in which it differs are coded.
        curve: folder for the page of what codes were tried, and what they reached.
        gaps: leave out tiles that cannot be coded, and say which; else they end the fold.
        outline: fold what stands beside the road, too, where the raster has it: drives begin by it without a prior.
    """

    codec: str = "auto"
    model: Path | None = None
    rate: float | None = None
    band: int | None = None
    relief_band: int | None = None
    tile_blocks: int | None = None
    embed_model: bool = False
    before: Path | None = None
    curve: Path | None = None
    gaps: bool = False
    outline: bool = True

    UPDATING = ("model", "band", "relief_band", "before")


@dataclass(frozen=True)
class VisualOptions:
    """Of a scene.

    Attributes:
        model: a trained D-PQED layer of ``foldmap train visual``, taken as it is.
        features: hloc HDF5 or COLMAP database; what lies beside the model where None.
        photos: folder of photos to extract SIFT from instead.
        globals: hloc HDF5 of one descriptor a photo, for retrieval.
        points: at most so many.
        select: how points are chosen: spread, cover, gamma, longest or random.
        alpha: of ``select="gamma"``, 0 to 1.
        codec: transform, raw, or one of `foldmap.visual.codes.fit_codecs.KINDS`.
        step: of transform codes; larger is smaller.
        parts: bytes a descriptor of product codes.
        epochs: of training a D-PQED layer.
        decoder: a trained D-PQED layer, adapted to the scene instead of training one.
        error_px: how far positions may move reprojections; a third of the noise.
        images: whether the map's images are kept.
        metric: whether world units are metres.
        positions: table of where photos were taken, to bring the scene into the map's frame.
        align: pairs of points in the scene's and the map's frame, for the same.
        seed: of every random choice.
        curve: folder for the curve of accuracy against bytes.
    """

    model: Path | None = None
    features: Path | None = None
    photos: Path | None = None
    globals: Path | None = None
    points: int | None = None
    select: str = "spread"
    alpha: float | None = None
    codec: str = "transform"
    step: float | None = None
    parts: int | None = None
    epochs: int | None = None
    decoder: Path | None = None
    error_px: float | None = None
    images: bool | None = None
    metric: bool | None = None
    positions: Path | None = None
    align: Path | None = None
    seed: int = 0
    curve: Path | None = None

    UPDATING = ("features", "photos", "globals", "points", "metric", "positions", "align")

    def check(self, budget: bool) -> None:
        """Refuse what goes with nothing, naming the option.

        Args:
            budget: whether a size is asked for.
        """
        from foldmap.visual.codes.fit_codecs import KINDS, TRAINED
        from foldmap.visual.select.choose import METHODS

        codecs = ("transform", *KINDS, "raw")
        if self.codec not in codecs:
            raise ConfigError(f"there is no codec {self.codec!r}", f"choose one of {', '.join(codecs)}")
        if self.select not in METHODS:
            raise ConfigError(f"no way to choose points is called {self.select!r}", f"take one of {', '.join(METHODS)}")
        partners = {
            "alpha": (self.select == "gamma", "--select gamma"),
            "step": (self.codec == "transform", "--codec transform"),
            "parts": (self.codec in KINDS, "a product code like --codec pq"),
            "epochs": (self.codec in TRAINED, "--codec dpqed or dpqed+"),
            "decoder": (self.codec in TRAINED, "--codec dpqed or dpqed+"),
        }
        for name, (fits, partner) in partners.items():
            if getattr(self, name) is not None and not fits:
                raise ConfigError(f"--{name} belongs to {partner}", f"give that too, or leave --{name} out")
        if self.select != VisualOptions.select and self.points is None and not budget:
            raise ConfigError("--select chooses points, and all are kept", "give --points or --budget, or leave it out")
        if self.globals is not None and self.images is False:
            raise ConfigError("--globals is for retrieval, which needs images", "leave --globals or --no-images out")
        if self.features is not None and self.photos is not None:
            raise ConfigError("features come from a file or from photos", "give --features or --photos")
        if self.model is not None and self.codec not in (VisualOptions.codec, *TRAINED):
            raise ConfigError(f"--model is a layer of foldmap train visual, not of {self.codec}", "leave --codec out")
        if self.model is not None and (self.parts, self.epochs, self.decoder, self.step) != (None,) * 4:
            raise ConfigError("--model is taken as it is", "leave --parts, --epochs, --decoder and --step out")
        if self.parts is not None and self.decoder is not None:
            raise ConfigError("a decoder has its own number of parts", "leave --parts out")
        for name in ("points", "step", "parts", "epochs", "error_px"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"--{name.replace('_', '-')} {value}", "give a positive number")


@dataclass(frozen=True)
class StreetOptions:
    """Of street maps.

    Attributes:
        model: a model file of ``foldmap train street``; the shipped one where None.
        error_m: of the stored lanes; 0.10.
        spacing: metres between places along a lane; 5, 0 for none.
        embeddings: a key of `EMBEDDINGS`; "none": they are drawn when wanted.
        embed_model: put a shipped model into the file, too.
        lanes: attributes of lanes to keep: none, traits (width, speed, type) or all.
        tile_m: side of a tile; 512.
        name: of the only region.
        format: of the maps, a key of `foldmap.formats.street.maps.KINDS`, where their content does not tell it.
        align: pairs of points x y in their frame and the map's, to bring them there.
        seed: of codebooks.
        strict: refuse maps in which anything is damaged.
    """

    model: Path | None = None
    error_m: float | None = None
    spacing: float | None = None
    embeddings: str | None = None
    lanes: str | None = None
    tile_m: float | None = None
    name: str | None = None
    format: str | None = None
    align: Path | None = None
    seed: int | None = None
    strict: bool = False
    embed_model: bool = False

    UPDATING = ("model", "name", "format", "align", "strict")


def refuse_in_update(options: LidarOptions | VisualOptions | StreetOptions) -> None:
    """Refuse to be told what an update takes from the file.

    Raises:
        ConfigError: names the option.
    """
    for field in fields(options):
        if field.name not in options.UPDATING and getattr(options, field.name) != field.default:
            option = {"error_m": "error", "tile_m": "tile", "curve": "report"}.get(field.name, field.name)
            raise ConfigError(
                "an update keeps the file's model and settings", f"leave --{option.replace('_', '-')} out, or fold anew"
            )
