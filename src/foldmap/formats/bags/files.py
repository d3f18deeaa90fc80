"""The files of a bag: MCAP, the folders and SQLite files of rosbag2, ROS 1; messages are read one at a time.

Where a file was cut or is damaged, what is whole before is read, and ``cut`` says so. A ROS 1 bag keeps its index at
its end, and without that it is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from foldmap.errors import BagInputError, FoldmapError
from foldmap.formats.extras import extra

T = TypeVar("T")

SUFFIXES = (".mcap", ".bag", ".db3")
METADATA = "metadata.yaml"
WHAT = "give an .mcap file, a rosbag2 folder, a .db3 file or a ROS 1 .bag"
_MAGIC = b"\x89MCAP0\r\n"
_MOST_BYTES = 1 << 30
"""No record of a file, and no chunk once decompressed, is larger."""


class Raw(NamedTuple):
    """A message as it was recorded: its topic, when (ns), and its bytes."""

    topic: str
    received_ns: int
    data: bytes


@dataclass(frozen=True)
class Topic:
    """A topic; the type is written as ROS 2 does, ``count`` is None where the file does not tell."""

    name: str
    type: str
    encoding: str
    count: int | None


@dataclass
class _Part:
    """One file, or one folder that is read as a whole."""

    path: Path
    topics: dict[str, Topic] = field(default_factory=dict)
    span_ns: tuple[int, int] | None = None
    cut: str = ""

    def read(self, names: Collection[str]) -> Iterator[Raw]:
        """Messages in order of recording; stops where the file is damaged."""
        read = 0
        source = self.messages(names)
        while True:
            try:
                raw = next(source)
            except StopIteration:
                return
            except FoldmapError:
                raise
            except Exception as error:  # the parsers raise what they like on bytes that nobody wrote
                self.cut = f"{self.path} is cut or damaged ({_words(error)}): {read:,} messages before that were read"
                return
            read += 1
            yield raw

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        """Messages of some topics."""
        raise NotImplementedError


class _Mcap(_Part):
    """An MCAP file: by its index where it has one, else from beginning to end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        extra("mcap", "MCAP", "bags")
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise BagInputError(f"{path} is no MCAP file", WHAT)
        summary = self._summary()
        self._indexed = summary is not None and bool(summary.chunk_indexes)
        if summary is None or summary.statistics is None or not summary.channels:
            self._count()
            return
        told = summary.statistics
        for number, channel in summary.channels.items():
            schema = summary.schemas.get(channel.schema_id)
            self._add(channel, schema, told.channel_message_counts.get(number, 0))
        if told.message_count:
            self.span_ns = told.message_start_time, told.message_end_time

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        if not self._indexed:
            for _, channel, message in self._stream():
                if channel.topic in names:
                    yield Raw(channel.topic, message.log_time, message.data)
            return
        from mcap.reader import SeekingReader

        with self.path.open("rb") as file:
            reader = SeekingReader(file, validate_crcs=True, record_size_limit=_MOST_BYTES)
            for _, channel, message in reader.iter_messages(topics=sorted(names)):
                yield Raw(channel.topic, message.log_time, message.data)

    def _summary(self) -> Any:
        """The index at the file's end; None where there is none, or it is damaged."""
        from mcap.reader import SeekingReader

        try:
            with self.path.open("rb") as file:
                summary = SeekingReader(file, record_size_limit=_MOST_BYTES).get_summary()
        except Exception:  # cut, or damaged: what is whole is read from the start
            return None
        if summary is not None and any(one.uncompressed_size > _MOST_BYTES for one in summary.chunk_indexes):
            raise BagInputError(f"{self.path} has a chunk of more than {_MOST_BYTES:,} bytes", "write smaller chunks")
        return summary

    def _stream(self) -> Iterator[tuple[Any, Any, Any]]:
        from mcap.records import Channel, Message, Schema
        from mcap.stream_reader import StreamReader

        schemas: dict[int, Any] = {}
        channels: dict[int, Any] = {}
        with self.path.open("rb") as file:
            for record in StreamReader(file, validate_crcs=True, record_size_limit=_MOST_BYTES).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    yield schemas.get(channel.schema_id), channel, record

    def _count(self) -> None:
        """Read the whole file once, where nothing in it tells what it holds."""
        counts: Counter[str] = Counter()
        stream = self._stream()
        while True:
            try:
                schema, channel, message = next(stream)
            except StopIteration:
                break
            except Exception as error:
                read = sum(counts.values())
                self.cut = f"{self.path} is cut or damaged ({_words(error)}): {read:,} messages before that were read"
                break
            counts[channel.topic] += 1
            first, last = self.span_ns or (message.log_time, message.log_time)
            self.span_ns = min(first, message.log_time), max(last, message.log_time)
            self._add(channel, schema, counts[channel.topic])

    def _add(self, channel: Any, schema: Any, count: int) -> None:
        kind = "" if schema is None else schema.name
        self.topics[channel.topic] = Topic(channel.topic, _ros2_name(kind), channel.message_encoding, count)


class _Rosbag(_Part):
    """What `rosbags` reads: folders and SQLite files of rosbag2, and ROS 1 bags."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        extra("rosbags", "a bag", "bags")
        encoding = "ros1" if path.suffix == ".bag" else "cdr"
        try:
            with self._open() as reader:
                counts: Counter[str] = Counter()
                for one in reader.connections:
                    counts[one.topic] += one.msgcount
                for one in reader.connections:
                    told = getattr(one.ext, "serialization_format", encoding)
                    self.topics[one.topic] = Topic(one.topic, one.msgtype, told, counts[one.topic])
                if reader.message_count:
                    self.span_ns = reader.start_time, reader.end_time - 1
        except Exception as error:
            cure = "rosbag reindex, or ros2 bag reindex, may repair it; else copy it again"
            raise BagInputError(f"{path} cannot be read: {_words(error)}", cure) from error

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        with self._open() as reader:
            chosen = [one for one in reader.connections if one.topic in names]
            if chosen:
                for connection, received_ns, data in reader.messages(chosen):
                    yield Raw(connection.topic, received_ns, data)

    def _open(self) -> Any:
        if self.path.suffix == ".bag":
            from rosbags.rosbag1 import Reader as Reader1

            return Reader1(self.path)
        from rosbags.rosbag2 import Reader as Reader2

        return Reader2(self.path)


class Bag:
    """A bag, of one file or several that follow each other.

    Attributes:
        path: as it was given.
        topics: by name, of all files.
        span_ns: first and last time of recording; None where there is no message.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._parts = _parts(self.path)
        self.topics: dict[str, Topic] = {}
        for part in self._parts:
            for name, topic in part.topics.items():
                before = self.topics.get(name, replace(topic, count=0))
                self.topics[name] = replace(topic, count=(before.count or 0) + (topic.count or 0))
        spans = [part.span_ns for part in self._parts if part.span_ns is not None]
        self.span_ns = (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None

    @property
    def cut(self) -> list[str]:
        """Where reading stopped before the end of a file."""
        return [part.cut for part in self._parts if part.cut]

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        """Messages of some topics as they were recorded."""
        for part in self._parts:
            yield from part.read(names)


def is_bag(path: Path) -> bool:
    """Whether a path is a bag, by its name and those of the files in it."""
    if path.is_dir():
        return (path / METADATA).is_file() or any(any(path.glob(f"*{suffix}")) for suffix in (".mcap", ".db3"))
    return path.suffix.lower() in SUFFIXES


def _parts(path: Path) -> list[_Part]:
    if not path.exists():
        raise BagInputError(f"there is no bag {path}", "check the path")
    if path.is_file():
        return [_Mcap(path) if path.suffix.lower() == ".mcap" else _Rosbag(path)]
    from foldmap.formats.name_times import natural_key

    mcaps = sorted(path.glob("*.mcap"), key=natural_key)
    if mcaps:
        return [_Mcap(one) for one in mcaps]
    if (path / METADATA).is_file():
        return [_Rosbag(path)]
    return [_Rosbag(one) for one in sorted(path.glob("*.db3"), key=natural_key)]


def _ros2_name(kind: str) -> str:
    """``pkg/msg/Name``, also where ROS 1 writes ``pkg/Name``."""
    parts = kind.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else kind


def _words(error: BaseException) -> str:
    said = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
