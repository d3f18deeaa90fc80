"""The database a .fold file is: identity, tables, and the check of both on raw bytes before SQLite sees the file.

SQLite parses whatever its schema page holds: triggers, views, generated columns. So the first page is decoded here and
must hold exactly the tables of this format, nothing more, before a connection is made. After that SQLite has only plain
tables to read.
"""

import struct

from foldmap.atlas.limits import MAX_FILE_BYTES
from foldmap.errors import LimitError, MapFormatError, NewerVersionError, NotAFoldFileError

APPLICATION_ID = 0x464F4C44  # `FOLD` in ASCII, in the header's `application_id`
FORMAT_VERSION = 1  # in the header's `user_version`
PAGE_SIZE = 1024  # what the writer uses; readers accept every power of two from 1024 to 65536
TABLES: dict[str, str] = {
    "metadata": "CREATE TABLE metadata(id INTEGER PRIMARY KEY,key TEXT NOT NULL,value TEXT NOT NULL,"
    "checksum BLOB NOT NULL)STRICT",
    "layers": "CREATE TABLE layers(id INTEGER PRIMARY KEY,name TEXT NOT NULL,kind TEXT NOT NULL,"
    "parameters TEXT NOT NULL,directory BLOB NOT NULL,checksum BLOB NOT NULL)STRICT",
    "models": "CREATE TABLE models(id INTEGER PRIMARY KEY,layer INTEGER NOT NULL,name TEXT NOT NULL,role TEXT NOT NULL,"
    "payload BLOB NOT NULL,checksum BLOB NOT NULL)STRICT",
    "tiles": "CREATE TABLE tiles(id INTEGER PRIMARY KEY,layer INTEGER NOT NULL,payload BLOB NOT NULL,"
    "checksum BLOB NOT NULL)STRICT",
    "seal": "CREATE TABLE seal(id INTEGER PRIMARY KEY,checksum BLOB NOT NULL)STRICT",
}

HEADER_BYTES = 100
_HEADER = struct.Struct(">16sH6B12I20s2I")
_MAGIC = b"SQLite format 3\0"
_LEAF_TABLE = 13
_REFOLD = "copy the file again, or fold the map again"


def check_header(name: str, header: bytes, file_bytes: int) -> int:
    """Check the first 100 bytes of a file of ``file_bytes``; the page size in bytes.

    Raises `NotAFoldFileError`: the file is something else; `NewerVersionError`: the file's format is later than this
    reader; `MapFormatError`: truncated, grown, or not written by the rules of this format.
    """
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise NotAFoldFileError(f"{name} is not a .fold file", "give a file made by `foldmap fold`")
    (_, page_size, write_version, read_version, reserved, fraction_max, fraction_min, fraction_leaf,
     change, pages, _, free_pages, _, schema_format, _, auto_vacuum, encoding, version, incremental, application,
     unused, valid_for, _) = _HEADER.unpack(header)  # fmt: skip
    if application != APPLICATION_ID:
        raise NotAFoldFileError(f"{name} is a SQLite database of another application", "give a .fold file")
    if version > FORMAT_VERSION:
        what = f"{name} has format version {version}; this foldmap reads up to {FORMAT_VERSION}"
        raise NewerVersionError(what, "update foldmap")
    page_size = 65536 if page_size == 1 else page_size
    if version != FORMAT_VERSION or page_size < PAGE_SIZE or page_size & (page_size - 1):
        raise MapFormatError(f"{name}: header declares version {version}, page size {page_size}", _REFOLD)
    plain = (write_version, read_version, reserved, fraction_max, fraction_min, fraction_leaf) == (1, 1, 0, 64, 32, 32)
    if not plain or (free_pages, schema_format, auto_vacuum, encoding, incremental) != (0, 4, 0, 1, 0) or any(unused):
        raise MapFormatError(f"{name}: the header is damaged", _REFOLD)
    if file_bytes > MAX_FILE_BYTES:
        raise LimitError(f"{name} has {file_bytes} bytes, the limit is {MAX_FILE_BYTES}", "split the map")
    if change != valid_for or pages * page_size != file_bytes:
        what = f"{name} has {file_bytes} bytes and declares {pages} pages of {page_size}: it is cut or damaged"
        raise MapFormatError(what, _REFOLD)
    return page_size


def check_schema(name: str, page: bytes, file_bytes: int) -> None:
    """Check that the schema, read from the raw first page, is `TABLES`: no other table, index, view or trigger."""
    try:
        found = _schema_rows(page)
    except (IndexError, ValueError, struct.error) as error:
        raise MapFormatError(f"{name}: the schema page is damaged", _REFOLD) from error
    expected = [("table", table, table, sql) for table, sql in TABLES.items()]
    roots = {row[3] for row in found}
    if [(row[0], row[1], row[2], row[4]) for row in found] != expected:
        raise MapFormatError(f"{name}: the schema is not that of a .fold file", _REFOLD)
    if len(roots) != len(found) or not all(isinstance(r, int) and 2 <= r <= file_bytes // len(page) for r in roots):
        raise MapFormatError(f"{name}: the schema points outside the file", _REFOLD)


def _schema_rows(page: bytes) -> list[list[int | str]]:
    """Rows of the schema table, which in a .fold file is one leaf page without overflow."""
    kind, _, cells, _, _ = struct.unpack_from(">BHHHB", page, HEADER_BYTES)
    if kind != _LEAF_TABLE or cells != len(TABLES):
        raise ValueError("not a leaf with the tables of this format")
    pointers = struct.unpack_from(f">{cells}H", page, HEADER_BYTES + 8)
    rows = []
    for rank, pointer in enumerate(pointers, start=1):
        length, at = _varint(page, pointer)
        row_id, at = _varint(page, at)
        if length > len(page) - 35 or at + length > len(page) or row_id != rank:
            raise ValueError("a schema row overflows its page")
        rows.append(_record(page[at : at + length]))
    return rows


def _record(record: bytes) -> list[int | str]:
    """Decode one SQLite record of integers and texts."""
    header_bytes, at = _varint(record, 0)
    types = []
    while at < header_bytes:
        serial, at = _varint(record, at)
        types.append(serial)
    if at != header_bytes:
        raise ValueError("record header runs over")
    values: list[int | str] = []
    for serial in types:
        if 1 <= serial <= 4:
            size, text = serial, False
        elif serial in (8, 9):
            values.append(serial - 8)
            continue
        elif serial >= 13 and serial % 2:
            size, text = (serial - 13) // 2, True
        else:
            raise ValueError("neither integer nor text")
        field = record[at : at + size]
        if len(field) != size:
            raise ValueError("record runs over")
        values.append(field.decode() if text else int.from_bytes(field, "big", signed=True))
        at += size
    if at != len(record):
        raise ValueError("record has a tail")
    return values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9
