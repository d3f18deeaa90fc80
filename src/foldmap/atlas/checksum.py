"""The checksum of a row and the seal over all rows (``docs/format.md``, section *Checksums*).

Both are BLAKE2b over a byte string in which every field carries its length, so no two different rows share one string.
"""

import hashlib
import struct
from collections.abc import Iterable

ROW_CHECKSUM_BYTES = 8
SEAL_BYTES = 16

Field = int | str | bytes


def _feed(digest: hashlib.blake2b, field: Field) -> None:
    if isinstance(field, int):
        digest.update(struct.pack("<q", field))
        return
    data = field.encode() if isinstance(field, str) else field
    digest.update(struct.pack("<Q", len(data)))
    digest.update(data)


def row_checksum(table: str, *fields: Field) -> bytes:
    """8 bytes of BLAKE2b over a row: its table, and all its columns in order, the key first, without ``checksum``."""
    digest = hashlib.blake2b(digest_size=ROW_CHECKSUM_BYTES)
    _feed(digest, table)
    for field in fields:
        _feed(digest, field)
    return digest.digest()


def seal_checksum(rows: Iterable[tuple[str, int, bytes]]) -> bytes:
    """16 bytes of BLAKE2b over ``(table, id, checksum)`` of metadata, layers and models, in this order, by id.

    The rows of ``tiles`` are sealed through their layer: its directory lists their checksums, and its own covers that.
    """
    digest = hashlib.blake2b(digest_size=SEAL_BYTES)
    for table, row_id, checksum in rows:
        _feed(digest, table)
        _feed(digest, row_id)
        _feed(digest, checksum)
    return digest.digest()
