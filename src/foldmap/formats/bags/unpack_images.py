"""The images of one camera of a bag as files, and the camera that its CameraInfo tells, for what takes photos."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from foldmap.atlas.whole import write_whole
from foldmap.errors import BagInputError, ConfigError, InputError
from foldmap.formats.bags.files import Bag
from foldmap.formats.bags.images import camera_of, image_rgb
from foldmap.formats.bags.messages import decode, stamp_ns
from foldmap.formats.bags.survey import BagOptions, Survey, is_rectified
from foldmap.geometry import Camera

_AS_THEY_ARE = {b"\xff\xd8": ".jpg", b"\x89P": ".png"}


@dataclass(frozen=True)
class UnpackedImages:
    """A folder of images whose names are their times in seconds, their camera where the bag tells it, and notes."""

    folder: Path
    topic: str
    camera: Camera | None
    notes: list[str]


def unpack_images(
    path: Path,
    folder: Path,
    topics: tuple[str, ...] = (),
    every: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> UnpackedImages:
    """Write the images of one topic, every so many-th; the others of the bag are read past. TF is not needed.

    Raises:
        BagInputError: the bag has no image, or several topics have some and none is named; errors of `Survey`.
        ConfigError: several topics are named, or a number below 1.
    """
    if len(topics) > 1:
        raise ConfigError(f"a scene of the images of {len(topics)} topics", "name one with --topic camera=/image")
    if every < 1:
        raise ConfigError(f"every {every}-th image", "give 1 or more")
    bag = Bag(path)
    survey = Survey(bag, BagOptions({"camera": topics} if topics else {}))
    found = sorted(name for name, role in survey.roles.items() if role == "camera" and name in survey.first)
    found = [name for name in found if not topics or name in topics]
    if len(found) != 1:
        what = f"{len(found)} topics of images: {', '.join(found)}" if found else "no images"
        raise BagInputError(f"{path} has {what}", "name one with --topic camera=/image" if found else "record Image")
    topic, info = found[0], survey.camera_info(found[0])
    camera = None if info is None else camera_of(info, is_rectified(topic), topic)[0]
    notes = [] if camera else [f"{topic} has no CameraInfo beside it: its focal length is guessed"]
    total, left_out, written = bag.topics[topic].count or 0, Counter[str](), 0
    for number, raw in enumerate(bag.messages([topic])):
        report(number + 1, total)
        if number % every:
            continue
        try:
            message = decode(bag.topics[topic], raw.data)
            suffix, content = _encoded(message, f"{topic}, image {number + 1}")
        except InputError as error:
            left_out[str(error)] += 1
            continue
        micro = (stamp_ns(message) or raw.received_ns) // 1000
        write_whole(folder / f"{micro // 1_000_000}.{micro % 1_000_000:06d}{suffix}", content)
        written += 1
    notes += [*bag.cut, *(f"left out: {count:,} messages: {why}" for why, count in left_out.most_common(5))]
    if not written:
        raise BagInputError(f"{path}: none of the images of {topic} can be used", "; ".join(notes))
    return UnpackedImages(folder, topic, camera, notes)


def _encoded(message: Any, where: str) -> tuple[str, bytes]:
    """Suffix and bytes of a file: a JPEG or PNG as it was recorded, else PNG."""
    if hasattr(message, "format"):
        content = bytes(message.data)
        if content[:2] in _AS_THEY_ARE:
            return _AS_THEY_ARE[content[:2]], content
    file = io.BytesIO()
    Image.fromarray(image_rgb(message, where)).save(file, "PNG", compress_level=1)
    return ".png", file.getvalue()
