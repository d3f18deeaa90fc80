"""What a reader will allocate, and for how long it will work, before it calls a file hostile.

Every length that a file declares is compared with these numbers before memory is taken for it. They are part of the
format (``docs/format.md``): a writer keeps within them, so that no reader ever refuses an honest file.
"""

from __future__ import annotations

MAX_FILE_BYTES = 1 << 38
"""256 GiB: the largest file a reader opens."""

MAX_PAYLOAD_BYTES = 64 << 20
"""64 MiB: one tile, and one bundle of tiles."""

MAX_MODEL_BYTES = 512 << 20
"""512 MiB: one model's safetensors bytes."""

MAX_JSON_BYTES = 1 << 20
"""1 MiB: one JSON value (layer parameters, one metadata value), UTF-8."""

MAX_NAME_BYTES = 128
"""A layer's, model's, role's or metadata key's name, UTF-8."""

MAX_METADATA = 256
"""Metadata rows."""

MAX_LAYERS = 64
"""Layers in one file."""

MAX_MODELS = 256
"""Models in one file."""

MAX_TILES = 1 << 24
"""Tiles in one layer."""

MAX_DIRECTORY_BYTES = 256 << 20
"""One layer's tile directory, compressed or not."""

MAX_DEFLATE_RATIO = 1032
"""No deflate stream expands further than this, so a directory that claims more is lying."""

MAX_QUERY_S = 60.0
"""Longest time for one query inside SQLite."""
