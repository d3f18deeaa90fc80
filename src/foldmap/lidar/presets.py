"""Sizes of the networks by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from foldmap.errors import ConfigError, ModelError

INPUT_CHANNELS = 2
UNET_STRIDE = 16
_MAX_WIDTH = 1024
_MAX_DECODER_BLOCKS = 2  # more would reach beyond `codec.DECODE_HALO`


@dataclass(frozen=True)
class Preset:
    """What fixes the shape of every tensor of a lidar model.

    Attributes:
        name: models of one name are interchangeable.
        unet_widths: channels of the four embedding blocks (paper section 3.2).
        embedding_channels: depth of the embedding that is matched.
        stem: stride of the compression encoder's first convolution; 1 is the paper's, 4 starts it at a quarter of the
            resolution, where it costs a tenth and loses nothing that was measured.
        codec_widths: channels a scale of the compression encoder; one more stride-2 step a further entry.
        decoder_widths: channels a scale of the decoder, from code resolution to full resolution.
        decoder_blocks: residual blocks at code resolution in front of the transposed convolutions (paper: 0).
        downsample: pixels a code cell, 4, 8 or 16 (paper: 8x and 16x of 5 cm).
        groups: softmax groups (paper eq. 6: the index sets S_j).
        group_channels: channels in a group; a symbol is 0 (none reached 0.5) or 1..group_channels.
    """

    name: str
    unet_widths: tuple[int, ...]
    embedding_channels: int
    stem: int
    codec_widths: tuple[int, ...]
    decoder_widths: tuple[int, ...]
    decoder_blocks: int
    downsample: int
    groups: int
    group_channels: int

    def __post_init__(self) -> None:
        if self.downsample not in (4, 8, 16):
            raise ConfigError(f"downsample is {self.downsample}", "choose 4, 8 or 16")
        if self.stem not in (1, 4) or self.stem * 2 ** (len(self.codec_widths) - 1) != self.downsample:
            raise ConfigError(
                f"{len(self.codec_widths)} codec widths after a stem of {self.stem} do not make {self.downsample}x",
                "give a stem of 1 or 4 and log2(downsample / stem) + 1 widths",
            )
        if 2 ** (len(self.decoder_widths) - 1) != self.downsample:
            widths = f"{len(self.decoder_widths)} decoder widths do not undo {self.downsample}x"
            raise ConfigError(widths, "give log2(downsample) + 1 widths")
        every = (*self.unet_widths, *self.codec_widths, *self.decoder_widths)
        if len(self.unet_widths) != 4 or not all(1 <= width <= _MAX_WIDTH for width in every):
            raise ConfigError("the widths are unusable", f"give four U-Net widths, each 1 to {_MAX_WIDTH}")
        if not (1 <= self.embedding_channels <= 32 and 1 <= self.groups <= 32 and 1 <= self.group_channels <= 254):
            limits = "embedding 1-32, groups 1-32, channels a group 1-254"
            raise ConfigError("the numbers of channels are unusable", limits)
        if not 0 <= self.decoder_blocks <= _MAX_DECODER_BLOCKS:
            raise ConfigError("the number of decoder blocks is unusable", f"give 0 to {_MAX_DECODER_BLOCKS}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Preset:
        """Rebuild from `to_dict`, trusting nothing: a ModelError where a field is missing, unknown or unusable."""
        known = {field.name: str(field.type) for field in fields(Preset)}
        if not isinstance(data, dict) or set(data) != set(known):
            raise ModelError("the model's preset has unknown or missing fields", "use a model written by foldmap")
        values: dict[str, Any] = {}
        for name, kind in known.items():
            value = values[name] = tuple(data[name]) if isinstance(data[name], list) else data[name]
            widths = isinstance(value, tuple) and all(type(item) is int for item in value)
            if not (type(value).__name__ == kind if kind in ("str", "int") else widths):
                raise ModelError(f"the model's preset field {name} is of a wrong type")
        try:
            return Preset(**values)
        except ConfigError as error:
            raise ModelError(f"the model's preset is unusable: {error.message}") from error


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("paper-8x", (64, 128, 256, 512), 1, 1, (8, 16, 32, 64), (64, 32, 16, 8), 0, 8, 4, 16),
        Preset("paper-16x", (64, 128, 256, 512), 1, 1, (8, 16, 32, 64, 64), (64, 64, 32, 16, 8), 0, 16, 4, 16),
        Preset("small-8x", (12, 24, 48, 64), 2, 4, (32, 64), (64, 32, 16, 8), 1, 8, 2, 16),
        Preset("small-16x", (12, 24, 48, 64), 2, 4, (32, 64, 64), (64, 48, 32, 16, 8), 1, 16, 4, 16),
        Preset("coarse-4x", (12, 24, 48, 64), 2, 4, (64,), (64, 32, 16), 2, 4, 4, 16),
        Preset("tiny-8x", (4, 8, 16, 32), 1, 4, (8, 16), (16, 8, 4, 4), 0, 8, 1, 8),
    )
}


def preset_named(name: str) -> Preset:
    """The preset of a name; a ConfigError where there is none."""
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}", f"choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
