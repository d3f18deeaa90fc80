"""What is compared: chance, the best there is, nearest images, embedding models, one camera, generators."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from foldmap.bench.street.data import Library, batches, graphs_of
from foldmap.bench.street.generators.common import GeneratorSettings
from foldmap.bench.street.generators.generator import FORMAT, Generator
from foldmap.bench.street.predict import NOTHING, Answers, Kept, Progress, quiet
from foldmap.errors import ConfigError
from foldmap.metrics.retrieval import true_ranks
from foldmap.metrics.street_chamfer import PointSets, best_in_library
from foldmap.metrics.street_sampled import empty_m, sampled
from foldmap.street.graph.window import Window
from foldmap.street.images.ground import BirdsEye
from foldmap.street.images.observation import AerialCrop, Observation, RingFrame, StreetPair
from foldmap.street.model import EmbeddingModel
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, ByteArray, FloatArray, IntArray

DRAWS = 4
"""Random graphs a query."""
_FEATURE_PX = 160
_GROUND_PX = 160
_MEAN = torch.tensor((0.485, 0.456, 0.406))[:, None, None] * 255
_STD = torch.tensor((0.229, 0.224, 0.225))[:, None, None] * 255
_AHEAD_DEG = 45.0


def random_answers(queries: int, library: Library, seed: int) -> Answers:
    """Graphs drawn evenly from the library, several a query, so that chance is known well."""
    rows = np.random.default_rng([seed, 3]).integers(len(library), size=DRAWS * queries)
    return Answers("random", tuple(library.graphs[k] for k in rows), rows, len(library), NOTHING, 0.0)


def oracle_answers(truths: Sequence[LaneGraph], library: Library, window: Window) -> Answers:
    """The graph of the library with the least Chamfer distance to the truth: what no retrieval can beat."""
    begin_s = time.process_time()
    best = best_in_library(point_sets(truths, window), point_sets(library.graphs, window), cap_m=empty_m(window))
    graphs = tuple(library.graphs[k] for k in best.index)
    seconds = (time.process_time() - begin_s) / max(1, len(truths))
    return Answers("oracle", graphs, best.index, len(library), NOTHING, seconds)


def point_sets(graphs: Sequence[LaneGraph], window: Window) -> PointSets:
    """Vertices at 1 m, as Chamfer distance looks at them."""
    return PointSets.of([sampled(graph, window).points_m for graph in graphs])


def embed_pairs(model: EmbeddingModel, pairs: Sequence[StreetPair], progress: Progress = quiet) -> FloatArray:
    """Unit rows float32 (N, D) of observations, rendered a few at a time."""
    out = np.empty((len(pairs), model.dim), np.float32)
    at = 0
    for some in batches(pairs):
        out[at : at + len(some)] = model.embed_observations([pair.observation for pair in some])
        at += len(some)
        progress(at, len(pairs))
    return out


def imagenet_features(pairs: Sequence[StreetPair], progress: Progress = quiet) -> FloatArray:
    """What the paper's unimodal baseline compares: mean features of EfficientNet-lite0 with ImageNet weights.

    A ring's images are each described, and their features joined in the order of the cameras: neighbours in that space
    must show the same on the same sides.
    """
    network = Lite0()
    network.load_imagenet()
    network.eval()
    rows: list[FloatArray] = []
    for some in batches(pairs):
        for pair in some:
            rows.append(_described(network, pair.observation))
        progress(len(rows), len(pairs))
    found: FloatArray = np.stack(rows)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return found


@torch.inference_mode()
def _described(network: Lite0, observation: Observation) -> FloatArray:
    images = [observation.image] if isinstance(observation, AerialCrop) else list(observation.images)
    parts = []
    for image in images:
        if image is None:
            parts.append(np.zeros(network.channels, np.float32))
            continue
        pixels = torch.tensor(image).permute(2, 0, 1)[None].float()
        scale = _FEATURE_PX / min(pixels.shape[2:])
        if scale < 1:
            pixels = torch.nn.functional.interpolate(pixels, scale_factor=scale, mode="area")
        parts.append(network((pixels - _MEAN) / _STD).mean((0, 2, 3)).numpy())
    return np.concatenate(parts).astype(np.float32)


def nearest_rows(queries: FloatArray, rows: FloatArray) -> IntArray:
    """The row of largest inner product with each query, int64 (Q,); the lowest of equals."""
    return np.array([np.argmax(rows @ query) for query in queries], np.int64)


def retrieved(name: str, queries: FloatArray, rows: FloatArray, library: Library, truths: FloatArray | None) -> Answers:
    """The most similar graph of the library for each query: unit rows float32 of images (Q, D) and graphs (N, D).

    `truths` (Q, D) are of the queries' true graphs, for recall among library and truths; None leaves that out.
    """
    begin_s = time.process_time()
    best = nearest_rows(queries, rows)
    seconds = (time.process_time() - begin_s) / max(1, len(queries))
    ranks = NOTHING
    if truths is not None:
        similarity = np.concatenate([queries @ rows.T, queries @ truths.T], 1)
        ranks = true_ranks(similarity, len(rows) + np.arange(len(queries)))
    return Answers(name, tuple(library.graphs[k] for k in best), best, len(library), ranks, seconds)


def unimodal(method: str, queries: FloatArray, rows: FloatArray, graphs: Sequence[LaneGraph]) -> Answers:
    """The graph of the most similar training image."""
    best = nearest_rows(queries, rows)
    return Answers(method, tuple(graphs[k] for k in best), best, len(graphs), NOTHING)


def one_camera(frame: RingFrame, camera: str) -> RingFrame:
    """A frame of a ring with all cameras but one missing."""
    cameras = zip(frame.ring.names, frame.images, strict=True)
    return RingFrame(frame.ring, tuple(image if name == camera else None for name, image in cameras))


def front_camera(frame: RingFrame) -> str:
    """The camera that looks most nearly ahead (ConfigError: none looks ahead within 45 degrees)."""
    ahead = frame.ring.vehicle_SE3_camera[:, 0, 2]
    best = int(np.argmax(ahead))
    if ahead[best] < np.cos(np.radians(_AHEAD_DEG)):
        raise ConfigError("no camera of the ring looks ahead", "leave the single camera out")
    return frame.ring.names[best]


def generated(
    style: str,
    train: Sequence[StreetPair],
    queries: Sequence[StreetPair],
    settings: GeneratorSettings,
    seed: int,
    kept: Kept,
    identity: Mapping[str, Any],
    progress: Progress = quiet,
) -> Answers:
    """Graphs that a generator draws; it is trained on the training pairs first, unless it was before and is kept.

    `identity` is what decides the training pairs; `progress` is told of epochs.
    """
    asked = {**identity, "settings": repr(settings), "seed": seed, "pairs": len(train), "format": FORMAT}
    path = kept.network(style, asked)
    if path is not None and path.exists():
        network = Generator.load(path)
    else:
        images, seen = _grounds(train, settings.window)

        def told(epoch: int, epochs: int, loss: float) -> None:
            progress(epoch, epochs)

        network = Generator.fit(style, images, graphs_of(train), seen, settings, seed, told)
        if path is not None:
            network.save(path)
    begin_s = time.process_time()
    graphs: list[LaneGraph] = []
    for some in batches(queries):
        graphs += network.predict(*_grounds(some, network.settings.window))
    seconds = (time.process_time() - begin_s) / max(1, len(queries))
    return Answers(style, tuple(graphs), NOTHING, 0, NOTHING, seconds)


def _grounds(pairs: Sequence[StreetPair], window: Window) -> tuple[ByteArray, BoolArray]:
    eye = BirdsEye(window, _GROUND_PX)
    views = [eye(pair.observation) for some in batches(pairs) for pair in some]
    return np.stack([image for image, _ in views]), np.stack([seen for _, seen in views])
