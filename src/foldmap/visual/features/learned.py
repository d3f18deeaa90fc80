"""ALIKED and XFeat: kornia's networks with weights that the user has on disk. Nothing is ever downloaded."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from foldmap.errors import ConfigError, MissingExtraError, ModelError
from foldmap.types import AnyArray, ByteArray
from foldmap.visual.features.images import check_image, image_size_px, scaled_size_px
from foldmap.visual.source import Features

_ALIKED = ("aliked-n16", "aliked-n16rot", "aliked-n32", "aliked-t16")
_SUFFIXES = (".safetensors", ".pth", ".pt")
_WHERE = {
    "aliked": "give --weights; the authors publish them at github.com/Shiaoming/ALIKED in models/",
    "xfeat": "give --weights; the authors publish them at github.com/verlab/accelerated_features in weights/",
}
_MAX_BYTES = 1 << 30


class Aliked:
    """ALIKED (Zhao et al. 2023); settings as in `ExtractorSettings`.

    Weights are a file like ``aliked-n16.pth``, or a folder that holds one. Of "aliked" the weights' name says the
    variant: "aliked-n16", "aliked-n16rot", "aliked-n32" or "aliked-t16". Raises `ConfigError`: weights are not given or
    not there; `ModelError`: the weights are another network's, or damaged; `MissingExtraError`: kornia is not
    installed.
    """

    def __init__(
        self,
        weights: Path | None,
        variant: str = "aliked",
        max_keypoints: int = 4096,
        max_side_px: int = 1600,
        detection_threshold: float | None = None,
    ) -> None:
        if variant != "aliked" and variant not in _ALIKED:
            raise ConfigError(f"there is no {variant!r}", f"choose {', '.join(_ALIKED)}")
        path = _find_weights(weights, _ALIKED if variant == "aliked" else (variant,), "aliked")
        if variant == "aliked":
            variant = next((name for name in sorted(_ALIKED, key=len, reverse=True) if name in path.stem), "")
            if not variant:
                raise ConfigError(f"{path.name} does not say which ALIKED it is", "name it like aliked-n16.pth")
        self.feature, self._side_px = variant, max_side_px
        threshold = detection_threshold or 0.0
        self._network = kornia_features().ALIKED(
            variant, max_num_keypoints=max_keypoints, detection_threshold=threshold
        )
        load_state(self._network, read_weights(path), path, computed={"dkd.hw_grid"})

    def extract(self, image: ByteArray) -> Features:
        """See `Extractor.extract`; descriptors are float32 of length 1."""
        pixels, stretch = _prepared(image, self._side_px)
        with torch.inference_mode():
            found = self._network(pixels)[0]
        # kornia counts from the centre of the first pixel
        return _features(found.keypoints.numpy() + 0.5, stretch, found.descriptors.numpy(), found.keypoint_scores)


class XFeat:
    """XFeat (Potje et al. 2024), sparse; arguments and errors as `Aliked`, descriptors of 64."""

    feature = "xfeat"

    def __init__(
        self,
        weights: Path | None,
        max_keypoints: int = 4096,
        max_side_px: int = 1600,
        detection_threshold: float | None = None,
    ) -> None:
        path = _find_weights(weights, ("xfeat", "xfeat-kornia"), "xfeat")
        self._side_px = max_side_px
        self._network = kornia_features().XFeat(top_k=max_keypoints, detection_threshold=detection_threshold or 0.05)
        load_state(self._network.net, read_weights(path), path)
        self._network.eval()

    def extract(self, image: ByteArray) -> Features:
        """See `Extractor.extract`; descriptors are float32 of length 1."""
        pixels, stretch = _prepared(image, self._side_px)
        found = self._network.detectAndCompute(pixels)[0]
        # The network sees the image resized to multiples of 32 and answers index times ratio; the centre of that
        # pixel lies half a resized pixel further.
        height, width = pixels.shape[-2:]
        half = 0.5 * np.array([width / max(32, width // 32 * 32), height / max(32, height // 32 * 32)])
        return _features(found["keypoints"].numpy() + half, stretch, found["descriptors"].numpy(), found["scores"])


def _find_weights(given: Path | None, stems: tuple[str, ...], family: str) -> Path:
    """A file, or ``STEM.safetensors``, ``STEM.pth`` or ``STEM.pt`` in a folder, the first stem preferred."""
    if given is None:
        raise ConfigError(f"{family} needs weights, and none are given", _WHERE[family])
    if given.is_file():
        return given
    if not given.is_dir():
        raise ConfigError(f"there are no weights at {given}", _WHERE[family])
    for path in (given / f"{stem}{suffix}" for stem in stems for suffix in _SUFFIXES):
        if path.is_file():
            return path
    raise ConfigError(f"{given} holds no {' or '.join(stems)} weights", _WHERE[family])


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name, of safetensors or of a torch file with tensors only; `ModelError` for any other file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelError(f"{path} is larger than 1 GiB", "this cannot be a feature network")
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # damaged archives raise whatever their parts raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} cannot be read as weights: {first[:120]}", "download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no table of weights", "give the network's state_dict")
    return dict(state)


def load_state(
    network: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, computed: set[str] | None = None
) -> None:
    """Put weights into a network, every one but the ``computed``, and set it to evaluation.

    `ModelError` where they are another network's. Computed are buffers that it fills itself and files leave out.
    """
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{path} is another network's: shapes differ", "give the weights of this variant") from error
    lost = set(missing) - (computed or set())
    if lost or unexpected:
        odd = min(lost or set(unexpected))
        raise ModelError(f"{path} is another network's, first at {odd}", "give the weights of this variant")
    network.eval()


def kornia_features() -> Any:
    """Import kornia's networks; `MissingExtraError` where it is not installed."""
    importlib.import_module("PIL.Image")
    try:
        return importlib.import_module("kornia.feature")
    except ImportError as error:
        raise MissingExtraError("kornia is not installed", "pip install 'foldmap[learned]'") from error


def _prepared(image: ByteArray, side_px: int) -> tuple[torch.Tensor, AnyArray]:
    """The image as float (1, 3, H, W) in 0..1, scaled down if need be, and what its pixels are worth in x and y."""
    check_image(image)
    width, height = image_size_px(image)
    inner = scaled_size_px(width, height, side_px)
    if inner != (width, height):
        image = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    tensor = torch.from_numpy(np.array(colour)).permute(2, 0, 1)[None].float() / 255
    return tensor, np.array([width / inner[0], height / inner[1]])


def _features(xy_px: AnyArray, stretch: AnyArray, descriptors: AnyArray, scores: torch.Tensor) -> Features:
    best_first = np.argsort(-scores.numpy(), kind="stable")
    return Features(
        (xy_px * stretch).astype(np.float32)[best_first],
        descriptors.astype(np.float32)[best_first],
        scores.numpy().astype(np.float32)[best_first],
    )
