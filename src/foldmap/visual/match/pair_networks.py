"""Networks of the LightGlue family (Lindenberger et al. 2023), with weights that the user has on disk.

They pair the keypoints of two images by descriptors AND places. Nothing is ever downloaded.
"""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from foldmap.errors import ConfigError, MissingExtraError, ModelError
from foldmap.types import FloatArray, IntArray
from foldmap.visual.features.learned import kornia_features, load_state, read_weights

_MAX_BYTES = 1 << 30
_WHERE = "give LighterGlue for XFeat as ONNX, or LightGlue's own weights for ALIKED (github.com/cvg/LightGlue)"
_ONNX_INPUTS = ("kpts0", "kpts1", "desc0", "desc1")


@dataclass(frozen=True)
class Side:
    """One image of a pair: places float32 (N, 2) from its centre over half its longer side, and descriptors (N, D)."""

    xy: FloatArray
    descriptors: FloatArray


class PairNetwork(Protocol):
    """Pairs the keypoints of two images."""

    @property
    def dimension(self) -> int:
        """Length of the descriptors that it was trained for."""

    def pair(self, one: Side, other: Side) -> tuple[IntArray, FloatArray]:
        """Which keypoints belong together, int64 (M, 2), and how surely, float32 (M,) 0..1; no side is empty."""


def open_pair_network(weights: Path | None) -> PairNetwork:
    """Make a network ready, from ``.onnx`` (inputs kpts0, kpts1, desc0, desc1; outputs matches, scores) or LightGlue's.

    LightGlue's weights are ``.safetensors``, ``.pth`` or ``.pt``, and their sizes say which variant it is. Raises
    `ConfigError`: weights are not given or not there; `ModelError`: the weights are another network's, or damaged;
    `MissingExtraError`: onnxruntime or kornia is not installed.
    """
    if weights is None:
        raise ConfigError("the learned matcher needs weights, and none are given", _WHERE)
    if not weights.is_file():
        raise ConfigError(f"there are no weights at {weights}", _WHERE)
    if weights.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{weights} is larger than 1 GiB", "this cannot be a matcher")
    return OnnxPairs(weights) if weights.suffix == ".onnx" else LightGluePairs(weights)


class OnnxPairs:
    """A matcher as an ONNX graph, like LighterGlue for XFeat (Potje et al. 2024)."""

    def __init__(self, weights: Path) -> None:
        try:
            runtime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise MissingExtraError("onnxruntime is not installed", "pip install 'foldmap[learned]'") from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            # as bytes: a graph must not name other files
            self._session = runtime.InferenceSession(weights.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception for each of its parts, without a common class
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{weights} cannot be read as ONNX: {first[:120]}", "download it again") from error
        inputs = {node.name: node.shape for node in self._session.get_inputs()}
        outputs = [node.name for node in self._session.get_outputs()]
        sizes = [inputs.get(name, [None])[-1] for name in _ONNX_INPUTS]
        fits = set(inputs) == set(_ONNX_INPUTS) and sizes[:2] == [2, 2] and {"matches", "scores"} <= set(outputs)
        if not fits or not isinstance(sizes[2], int) or sizes[2] != sizes[3]:
            what = f"{weights} is no matcher of {', '.join(_ONNX_INPUTS)}: it takes {', '.join(inputs)}"
            raise ModelError(what, _WHERE)
        self.dimension = int(sizes[2])

    def pair(self, one: Side, other: Side) -> tuple[IntArray, FloatArray]:
        """See `PairNetwork.pair`."""
        given = (one.xy, other.xy, one.descriptors, other.descriptors)
        arrays = [np.ascontiguousarray(array[None], np.float32) for array in given]
        feed = dict(zip(_ONNX_INPUTS, arrays, strict=True))
        pairs, scores = self._session.run(["matches", "scores"], feed)
        return np.asarray(pairs, np.int64).reshape(-1, 2), np.asarray(scores, np.float32).reshape(-1)


class LightGluePairs:
    """LightGlue in plain torch (kornia's), of any size: the weights tell."""

    def __init__(self, weights: Path) -> None:
        state = _renamed(read_weights(weights))
        sizes = _sizes(state, weights)
        self.dimension = int(sizes["input_dim"])
        self._network = kornia_features().LightGlue(features=None, **sizes)
        load_state(self._network, state, weights, computed={"confidence_thresholds"})

    def pair(self, one: Side, other: Side) -> tuple[IntArray, FloatArray]:
        """See `PairNetwork.pair`."""
        with torch.inference_mode():
            found = self._network({"image0": _image(one), "image1": _image(other)})
        return found["matches"][0].numpy().astype(np.int64), found["scores"][0].numpy().astype(np.float32)


def _image(side: Side) -> dict[str, torch.Tensor]:
    """What kornia wants; in an image of 2 x 2 px its own scaling of keypoints takes the shift away and no more."""
    return {
        "keypoints": torch.from_numpy(np.ascontiguousarray(np.clip(side.xy, -1, 1) + 1, np.float32))[None],
        "descriptors": torch.from_numpy(np.ascontiguousarray(side.descriptors, np.float32))[None],
        "image_size": torch.tensor([[2.0, 2.0]]),
    }


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as kornia has them, of weights as their authors published them."""
    named = {re.sub(r"^matcher\.", "", key): value for key, value in state.items()}
    return {re.sub(r"^(self|cross)_attn\.(\d+)\.", r"transformers.\2.\1_attn.", key): v for key, v in named.items()}


def _sizes(state: dict[str, torch.Tensor], weights: Path) -> dict[str, Any]:
    """The network's configuration, out of the shapes of its weights."""
    layers = {int(found[1]) for key in state if (found := re.match(r"transformers\.(\d+)\.", key))}
    try:
        half, axes = state["posenc.Wr.weight"].shape
        width = int(state["log_assignment.0.final_proj.weight"].shape[0])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{weights} is no LightGlue", _WHERE) from error
    if axes != 2:
        raise ModelError(f"{weights} wants scales and orientations of keypoints, which maps do not keep", _WHERE)
    if layers != set(range(len(layers))) or not layers or width % (2 * half):
        raise ModelError(f"{weights} is no LightGlue of whole layers", "download it again")
    entry = state.get("input_proj.weight")
    adaptive = "token_confidence.0.token.0.weight" in state
    return {
        "input_dim": width if entry is None else int(entry.shape[1]),
        "descriptor_dim": width,
        "num_heads": width // (2 * half),
        "n_layers": len(layers),
        "depth_confidence": 0.95 if adaptive else -1,
        "width_confidence": 0.99 if adaptive else -1,
    }
