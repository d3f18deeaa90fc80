"""Fold a raster into codes and unfold codes into the embedding that a localizer matches.

    raster --blocks on a fixed lattice--> codes --tiles, coder--> payloads          encode
    payloads --tiles in reach, overlap--> codes --decoder--> embedding of a window  decode

Codes are made on a lattice of blocks that starts at the raster's corner and knows nothing of tiles, so they are the
same however the map is tiled; the decoder sees `DECODE_HALO` cells around a window, no fewer than it reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ModelError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.match.region import STRIP_PX, Box
from foldmap.lidar.normalize import network_input, observation_input, spread_of
from foldmap.lidar.observation import Observation
from foldmap.lidar.presets import UNET_STRIDE, Preset
from foldmap.lidar.source import BLOCK_PX, RasterMap, RasterSource, median_by_weight, some_blocks
from foldmap.types import BoolArray, ByteArray, FloatArray, IntArray

HALO_PX = 128
DECODE_HALO = 8
MIN_SHARE = 0.2  # cells observed less than this hold no code: streaks of far rings cost bits and tell little


@dataclass(frozen=True)
class CodedBlock:
    """Codes uint8 (G, h, w) of a block or tile of the lattice, 0 where no channel of a group is on."""

    row: int
    column: int
    codes: ByteArray
    observed_px: int


def lattice_shape(source: RasterSource) -> tuple[int, int]:
    """Block rows and columns that cover a raster."""
    return -(-source.grid.height_px // BLOCK_PX), -(-source.grid.width_px // BLOCK_PX)


def global_spread(source: RasterSource) -> float:
    """The map's intensity spread, the median of blocks even over the lattice, by observed area; 0 if there are none."""
    blocks = list(some_blocks(source))
    if not blocks:
        return 0.0
    spreads = [spread_of(one.intensity, one.observed, one.grid.resolution_m) for one in blocks]
    return median_by_weight(spreads, [int(one.observed.sum()) for one in blocks])


def encode_raster(bundle: Bundle, raster: RasterMap, spread: float) -> ByteArray:
    """Codes uint8 (G, H/s, W/s) of a raster, its sides multiples of s; 0 where less than `MIN_SHARE` is observed."""
    import torch

    from foldmap.lidar.model import BINARY_THRESHOLD

    model, scale = bundle.model, bundle.model.preset.downsample
    with torch.inference_mode():
        x = torch.from_numpy(padded(network_input(raster, spread)))[None]
        logits = model.encoder(model.map_embedding(x.to(memory_format=torch.channels_last)))
        probability, channel = logits.softmax(dim=2).max(dim=2)
        codes = torch.where(probability >= BINARY_THRESHOLD, channel + 1, 0)[0].to(torch.uint8).numpy()
    height, width = raster.grid.height_px // scale, raster.grid.width_px // scale
    seen = raster.observed.reshape(height, scale, width, scale).mean(axis=(1, 3)) >= MIN_SHARE
    return np.asarray(codes[:, :height, :width] * seen)


def encode_block(bundle: Bundle, source: RasterSource, spread: float, row: int, column: int) -> CodedBlock | None:
    """Code the block of the lattice that starts at pixel (row, column) * BLOCK_PX; None when it shows nothing."""
    scale = bundle.model.preset.downsample
    side = BLOCK_PX + 2 * HALO_PX
    raster = source.read(row * BLOCK_PX - HALO_PX, column * BLOCK_PX - HALO_PX, side, side)
    observed_px = int(raster.observed[HALO_PX:-HALO_PX, HALO_PX:-HALO_PX].sum())
    if observed_px == 0:
        return None
    inner = slice(HALO_PX // scale, (HALO_PX + BLOCK_PX) // scale)
    codes = np.ascontiguousarray(encode_raster(bundle, raster, spread)[:, inner, inner])
    return CodedBlock(row, column, codes, observed_px)


def padded(x_2HW: FloatArray) -> FloatArray:
    """Grow to multiples of the U-Net's stride, unobserved."""
    return np.pad(x_2HW, ((0, 0), *((0, -side % UNET_STRIDE) for side in x_2HW.shape[1:])))


class Decoder:
    """The localizing half of a bundle, made fast: batch norms folded in, channels last, and float32 unless ``fast``.

    Then it computes in bfloat16 where the processor does. The bundle is left as it is.
    """

    def __init__(self, bundle: Bundle, *, fast: bool = True) -> None:
        import torch

        from foldmap.lidar.runtime.inference import FastDecoder, fused

        has_bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        self.dtype = torch.bfloat16 if fast and has_bf16 else torch.float32
        self.preset = bundle.model.preset
        self._decoder = FastDecoder(bundle.model.decoder, self.dtype)
        self._sweep = fused(bundle.model.sweep_embedding, self.dtype)

    def embed_observation(self, observation: Observation) -> FloatArray:
        """Embed what the vehicle sees, in its own axes: (C, H, W) float32."""
        return self.embed(observation_input(observation.intensity, observation.observed, observation.resolution_m))

    def embed(self, x_2HW: FloatArray) -> FloatArray:
        """Embed a normalized observation: (2, H, W) -> (C, H, W) float32."""
        import torch

        height, width = x_2HW.shape[1:]
        with torch.inference_mode():
            x = torch.from_numpy(padded(x_2HW))[None].to(self.dtype, memory_format=torch.channels_last)
            embedding: FloatArray = self._sweep(x)[0, :, :height, :width].float().contiguous().numpy()
        return embedding

    def decode(self, codes_GHW: ByteArray | IntArray) -> FloatArray:
        """Decode codes (G, h, w) -> (C, h * s, w * s) float32; errors as `decode_window`."""
        height, width = (side * self.preset.downsample for side in codes_GHW.shape[1:])
        return self.decode_window(codes_GHW, (0, 0), (height, width), [(0, height, 0, width)])

    def decode_window(
        self, codes_GHW: ByteArray | IntArray, first_rc: tuple[int, int], shape: tuple[int, int], boxes: Sequence[Box]
    ) -> FloatArray:
        """Decode a window of what codes (G, h, w) hold: (C, *shape) float32.

        Its first row and column are in pixels from the codes' corner; boxes are the pixels of the window that are
        wanted, disjoint: the others stay 0. A ModelError where a symbol exceeds the preset's channels.
        """
        import torch

        one_hot = one_hot_of(codes_GHW, self.preset)
        window = np.zeros((self.preset.embedding_channels, *shape), np.float32)
        # In strips, which stay in the cache from layer to layer.
        strips = [(r, min(r + STRIP_PX, box[1]), *box[2:]) for box in boxes for r in range(box[0], box[1], STRIP_PX)]
        row, column = first_rc
        inside = [(r + row, r_end + row, c + column, c_end + column) for r, r_end, c, c_end in strips]
        with torch.inference_mode():
            code_1KHW = torch.from_numpy(one_hot).to(self.dtype).permute(2, 0, 1)[None]
            for (r, r_end, c, c_end), part in zip(strips, self._decoder.boxes(code_1KHW, inside), strict=True):
                window[:, r:r_end, c:c_end] = part.float().numpy()
        return window


def one_hot_of(codes_GHW: ByteArray | IntArray, preset: Preset) -> BoolArray:
    """The binary code (h, w, G * K) that symbols stand for; a ModelError where one exceeds the preset's channels."""
    if codes_GHW.shape[0] != preset.groups or int(codes_GHW.max(initial=0)) > preset.group_channels:
        raise ModelError("the codes do not fit the model", "the file mixes a map with another map's model")
    symbols_HWG = np.ascontiguousarray(codes_GHW.transpose(1, 2, 0)).astype(np.uint8)
    one_hot = symbols_HWG[..., None] == np.arange(1, preset.group_channels + 1, dtype=np.uint8)
    return np.asarray(one_hot.reshape(*symbols_HWG.shape[:2], -1))


def known_of(codes_GHW: ByteArray, downsample: int) -> BoolArray:
    """Pixels whose cell, or a neighbouring one, holds any code: where there is map."""
    cells = (codes_GHW != 0).any(axis=0)
    near = np.lib.stride_tricks.sliding_window_view(np.pad(cells, 1), (3, 3)).any(axis=(2, 3))
    return np.asarray(near.repeat(downsample, axis=0).repeat(downsample, axis=1))
