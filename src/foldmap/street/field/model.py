"""The accurate street model: graphs are drawn, images are read, both become lane spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from foldmap.errors import ModelError
from foldmap.runtime.session import is_installed
from foldmap.street.field.graph import FieldGraph
from foldmap.street.field.lane_field import FieldSpec, draw_all, draw_around
from foldmap.street.field.shape import FieldReader, FieldShape, birds_eye
from foldmap.street.field.spectrum import SpectrumSpec, check_terms, mirror_signs, spectrum
from foldmap.street.field.symmetry import check_turns, turn_field, turn_image
from foldmap.street.graph.window import Window
from foldmap.street.images.ground import BirdsEye
from foldmap.street.images.observation import Observation
from foldmap.street.source import LaneGraph
from foldmap.training.model_bytes import model_from_bytes, model_to_bytes
from foldmap.types import AnyArray, DoubleArray, FloatArray

FORMAT = 1
KIND = "street-field"
MAX_BYTES = 256 << 20
_BATCH = 16
_GRAPHS_AT_ONCE = 2048
_BATCH_AROUND = 64
_CURE = "use a model written by `foldmap train street`"


@dataclass(frozen=True)
class FieldEmbedding:
    """Embeds lane graphs and observations through the lane field (an `EmbeddingModel`).

    The graph side has nothing learned: `draw_all`, then `spectrum`. The image side predicts the field, averaged over 1,
    2 or 4 quarter turns of the ground image, then takes the same spectrum. `least_change` is the confidence from which
    a change counts, of a network with a map; None where that was not set on unchanged lanes. `reads`, which no file
    holds, is the doubt of a map's lanes up to which less is enough; None: it never is.
    """

    network: FieldReader
    field: FieldSpec = FieldSpec()  # noqa: RUF009 - frozen
    frequencies: SpectrumSpec = SpectrumSpec(100, 2)  # noqa: RUF009 - frozen
    turns: int = 4
    least_change: float | None = None
    reads: float | None = None

    def __post_init__(self) -> None:
        check_turns(self.field.headings, self.turns)
        check_terms(self.field, self.frequencies)
        if self.network.shape.headings != self.field.headings:
            raise ModelError("the network and the field have other headings", _CURE)
        object.__setattr__(self, "_eye", birds_eye(self.field))

    @property
    def name(self) -> str:
        """Kind of model."""
        return "field"

    @property
    def window(self) -> Window:
        """What graphs and observations cover."""
        return self.field.window

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        return self.frequencies.dim

    @property
    def mirror_signs(self) -> FloatArray:
        """float32 (dim,); see `foldmap.street.field.spectrum.mirror_signs`."""
        return mirror_signs(self.field, self.frequencies)

    def embed_graphs(self, graphs: Sequence[LaneGraph]) -> FloatArray:
        """Unit rows float32 (N, dim); a graph without edges gets zeros."""
        parts = [
            spectrum(draw_all(graphs[at : at + _GRAPHS_AT_ONCE], self.field), self.field, self.frequencies)
            for at in range(0, len(graphs), _GRAPHS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def embed_around(self, ends_m: DoubleArray, poses: DoubleArray) -> FloatArray:
        """Unit rows float32 (N, dim) of the windows of one graph: arguments as `draw_around`."""
        parts = [
            self.embed_fields(draw_around(ends_m, poses[at : at + _BATCH_AROUND], self.field))
            for at in range(0, len(poses), _BATCH_AROUND)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def embed_observations(self, observations: Sequence[Observation]) -> FloatArray:
        """Unit rows float32 (N, dim)."""
        return self.embed_fields(self.read_fields(observations))

    def embed_fields(self, fields_BCRS: FloatArray) -> FloatArray:
        """Unit rows of fields that were drawn or read."""
        return spectrum(fields_BCRS, self.field, self.frequencies)

    def read_fields(self, observations: Sequence[Observation], maps_BCRS: FloatArray | None = None) -> FloatArray:
        """The lane fields that the network reads from N observations, float32 (N, headings, rows, columns), 0 to 1.

        A network with a map takes fields of the old maps and answers three fields a window, (N, 3 headings, rows,
        columns): present, lacking, gone.
        """
        out, fields = [], self.network.shape.fields
        for at in range(0, len(observations), _BATCH):
            images, seen = _ground_images(observations[at : at + _BATCH], self._eye)  # type: ignore[attr-defined]
            old = None if maps_BCRS is None else maps_BCRS[at : at + _BATCH]
            total = np.zeros((), np.float32)
            for turn in range(self.turns):
                quarters = turn * 4 // self.turns
                turned = None if old is None else np.ascontiguousarray(turn_field(old, quarters))
                logits = self.network.read(turn_image(images, quarters), turn_image(seen, quarters), turned)
                parts = np.split(expit(logits), fields, 1)
                total = total + np.concatenate([turn_field(part, -quarters) for part in parts], 1)
            out.append(total / np.float32(self.turns))
        if not out:
            return np.zeros((0, fields * self.field.headings, *self.field.shape[1:]), np.float32)
        return np.concatenate(out)

    def payload(self) -> bytes:
        """Safetensors in half precision with everything as JSON beside; the same model gives the same bytes."""
        info = {
            "format": FORMAT,
            "kind": KIND,
            "shape": asdict(self.network.shape),
            "field": asdict(self.field),
            "frequencies": asdict(self.frequencies),
            "turns": self.turns,
        }
        if self.least_change is not None:
            info["least_change"] = self.least_change
        return model_to_bytes(self.network.packed(), info)

    @staticmethod
    def from_payload(payload: bytes) -> FieldEmbedding:
        """Rebuild a model, trusting nothing (ModelError: the bytes are no field model of this version).

        Its network is a graph of onnxruntime where that is installed, else torch's; the numbers are the same but for
        rounding.
        """
        return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=_CURE)


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> FieldEmbedding:
    if info.get("kind") != KIND:
        raise ModelError(f"the model is {info.get('kind')!r}, not a {KIND}", _CURE)
    shape, field = FieldShape(**info["shape"]), FieldSpec.from_dict(info["field"])
    network: FieldReader
    if is_installed("onnxruntime"):
        network = FieldGraph(shape, arrays, _CURE)
    else:
        from foldmap.street.field.network import FieldNetwork

        network = FieldNetwork.unpacked(shape, arrays, _CURE)
    least = info.get("least_change")
    if least is not None and not 0 < least <= 1:
        raise ModelError(f"the model counts changes from a confidence of {least}", _CURE)
    return FieldEmbedding(network, field, SpectrumSpec(**info["frequencies"]), int(info["turns"]), least)


def _ground_images(observations: Sequence[Observation], eye: BirdsEye) -> tuple[FloatArray, FloatArray]:
    """Images float32 (B, 3, H, W), 0 to 255, and where they show ground (B, H, W)."""
    images, seen = zip(*map(eye, observations), strict=True)
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32), np.stack(seen).astype(np.float32)
