"""The files of a bag: MCAP, the folders and SQLite files of rosbag2, ROS 1; messages are read one at a time.

Where a file was cut or is damaged, what is whole before is read, and ``cut`` says so.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from foldmap.errors import BagInputError, FoldmapError
from foldmap.formats.extras import extra

SUFFIXES = (".mcap", ".bag", ".db3")
METADATA = "metadata.yaml"
WHAT = "give an .mcap file, a rosbag2 folder, a .db3 file or a ROS 1 .bag"
_MAGIC = b"\x89MCAP0\r\n"
_ROS1_MAGIC = b"#ROSBAG V2.0\n"
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
                self.cut = _cut(self.path, error, read)
                return
            read += 1
            yield raw

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        """Messages of some topics."""
        for topic, received_ns, data in self.stream():
            if topic.name in names:
                yield Raw(topic.name, received_ns, data)

    def stream(self) -> Iterator[tuple[Topic, int, bytes]]:
        """All messages from the beginning of the file, without its index."""
        raise NotImplementedError

    def count(self) -> None:
        """Read the whole file once, where nothing in it tells what it holds; up to where it is damaged."""
        counts: Counter[str] = Counter()
        stream = self.stream()
        while True:
            try:
                topic, received_ns, _ = next(stream)
            except StopIteration:
                return
            except Exception as error:
                self.cut = _cut(self.path, error, sum(counts.values()))
                return
            counts[topic.name] += 1
            first, last = self.span_ns or (received_ns, received_ns)
            self.span_ns = min(first, received_ns), max(last, received_ns)
            self.topics[topic.name] = replace(topic, count=counts[topic.name])


class _Mcap(_Part):
    """An MCAP file: by its index where it has one, else from beginning to end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        extra("mcap", "MCAP")
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise BagInputError(f"{path} is no MCAP file", WHAT)
        summary = self._summary()
        self._indexed = summary is not None and bool(summary.chunk_indexes)
        if summary is None or summary.statistics is None or not summary.channels:
            self.count()
            return
        told = summary.statistics
        for number, channel in summary.channels.items():
            topic = _mcap_topic(channel, summary.schemas.get(channel.schema_id))
            self.topics[topic.name] = replace(topic, count=told.channel_message_counts.get(number, 0))
        if told.message_count:
            self.span_ns = told.message_start_time, told.message_end_time

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        if not self._indexed:
            yield from super().messages(names)
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

    def stream(self) -> Iterator[tuple[Topic, int, bytes]]:
        from mcap.records import Channel, Message, Schema
        from mcap.stream_reader import StreamReader

        schemas: dict[int, Any] = {}
        topics: dict[int, Topic] = {}
        with self.path.open("rb") as file:
            for record in StreamReader(file, validate_crcs=True, record_size_limit=_MOST_BYTES).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    topics[record.id] = _mcap_topic(record, schemas.get(record.schema_id))
                elif isinstance(record, Message):
                    yield topics[record.channel_id], record.log_time, record.data


def _mcap_topic(channel: Any, schema: Any) -> Topic:
    return Topic(channel.topic, _ros2_name("" if schema is None else schema.name), channel.message_encoding, None)


class _Rosbag(_Part):
    """What `rosbags` reads: folders and SQLite files of rosbag2, and ROS 1 bags."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        extra("rosbags", "a bag")
        encoding = "ros1" if _is_ros1(path) else "cdr"
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
            cure = "ros2 bag reindex, or rosbag reindex, may repair it; else copy it again"
            raise BagInputError(f"{path} cannot be read: {_words(error)}", cure) from error

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        with self._open() as reader:
            chosen = [one for one in reader.connections if one.topic in names]
            if chosen:
                for connection, received_ns, data in reader.messages(chosen):
                    yield Raw(connection.topic, received_ns, data)

    def _open(self) -> Any:
        if _is_ros1(self.path):
            from rosbags.rosbag1 import Reader as Reader1

            return Reader1(self.path)
        from rosbags.rosbag2 import Reader as Reader2

        return Reader2(self.path)


class _Ros1Cut(_Part):
    """A ROS 1 bag that has no index, as a recorder leaves it that was stopped: chunk by chunk from the beginning."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count()

    def stream(self) -> Iterator[tuple[Topic, int, bytes]]:
        from rosbags.rosbag1.reader import Header, RecordType, decompressors, read_bytes, read_uint32

        topics: dict[int, Topic] = {}
        with self.path.open("rb") as file:
            file.readline()
            end = self.path.stat().st_size
            while file.tell() < end:
                header = Header.read(file)
                size = read_uint32(file)
                if header.get_uint8("op") != RecordType.CHUNK:
                    file.seek(size, 1)  # the bag's header and, where there is some, its index
                    continue
                if header.get_uint32("size") > _MOST_BYTES:
                    raise BagInputError(f"a chunk of more than {_MOST_BYTES:,} bytes")
                chunk = io.BytesIO(decompressors[header.get_string("compression")](read_bytes(file, size)))
                while chunk.tell() < len(chunk.getbuffer()):
                    header = Header.read(chunk)
                    data = read_bytes(chunk, read_uint32(chunk))
                    number = header.get_uint32("conn")
                    if header.get_uint8("op") == RecordType.CONNECTION:
                        told = Header.read(io.BytesIO(len(data).to_bytes(4, "little") + data))
                        name, kind = header.get_string("topic"), _ros2_name(told.get_string("type"))
                        topics[number] = Topic(name, kind, "ros1", None)
                    elif number in topics:
                        yield topics[number], header.get_time("time"), data


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
    """Whether a path is a bag, by its name and those of the files in it; a folder with a ``drive.json`` is a drive."""
    if path.is_dir():
        if (path / "drive.json").is_file():
            return False
        return (path / METADATA).is_file() or any(any(path.glob(f"*{suffix}")) for suffix in (".mcap", ".db3"))
    return path.suffix.lower() in SUFFIXES


def _parts(path: Path) -> list[_Part]:
    if not path.exists():
        raise BagInputError(f"there is no bag {path}", "check the path")
    if path.is_file():
        return [_Mcap(path) if path.suffix.lower() == ".mcap" else _ros1(path) if _is_ros1(path) else _Rosbag(path)]
    from foldmap.formats.name_times import natural_key

    mcaps = sorted(path.glob("*.mcap"), key=natural_key)
    if mcaps:
        return [_Mcap(one) for one in mcaps]
    if (path / METADATA).is_file():
        return [_Rosbag(path)]
    return [_Rosbag(one) for one in sorted(path.glob("*.db3"), key=natural_key)]


def _is_ros1(path: Path) -> bool:
    return path.suffix.lower() == ".bag"


def _ros1(path: Path) -> _Part:
    """A ROS 1 bag by its index; without one, what is whole of it."""
    try:
        return _Rosbag(path)
    except BagInputError:
        with path.open("rb") as file:
            if file.readline(16) != _ROS1_MAGIC:
                raise
        cut = _Ros1Cut(path)
        if not cut.topics:
            raise
        return cut


def _cut(path: Path, error: Exception, read: int) -> str:
    return f"{path} is cut or damaged ({_words(error)}): {read:,} messages before that were read"


def _ros2_name(kind: str) -> str:
    """``pkg/msg/Name``, also where ROS 1 writes ``pkg/Name``."""
    parts = kind.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else kind


def _words(error: BaseException) -> str:
    said = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
