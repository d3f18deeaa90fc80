"""Photos and aerial crops as 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from foldmap.errors import MapInputError
from foldmap.types import ByteArray

_EIGHT_BIT = {"RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr"}


def read_rgb(path: Path | str) -> ByteArray:
    """Decode a photo of 8 bits a channel as uint8 (H, W, 3).

    Grey is repeated over the channels, palettes are looked up, alpha is dropped. Pixels stay where the file has them:
    EXIF orientation is not applied, as a calibration knows nothing of it.
    """
    return decode_rgb(Path(path), str(path))


def decode_rgb(source: Path | BinaryIO, where: str) -> ByteArray:
    """Decode a photo as `read_rgb` does, from a file or its bytes; ``where`` is its name in messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                if image.mode not in _EIGHT_BIT:
                    cure = "convert it to 8-bit RGB with the tone curve you want"
                    raise MapInputError(f"{where} has {image.mode} pixels, more than 8 bits a channel", cure)
                return np.ascontiguousarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise MapInputError(f"there is no image {where}", "check the name, or leave the cell empty") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MapInputError(f"{where} is no photo: {error}", "give a JPEG or PNG") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise MapInputError(f"{where} cannot be decoded: {error}", "copy it again") from error
