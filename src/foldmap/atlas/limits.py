"""What a reader will allocate, and for how long it will work, before it calls a file hostile.

Every length that a file declares is compared with these numbers before memory is taken for it. They are part of the
format (``docs/format.md``): a writer keeps within them, so that no reader ever refuses an honest file.
"""

MAX_FILE_BYTES = 1 << 38  # 256 GiB: the largest file a reader opens
MAX_PAYLOAD_BYTES = 64 << 20  # one tile, and one bundle of tiles
MAX_MODEL_BYTES = 512 << 20  # one model's safetensors bytes
MAX_JSON_BYTES = 1 << 20  # one JSON value (layer parameters, one metadata value), UTF-8
MAX_NAME_BYTES = 128  # the name of a layer, model, role or metadata key, UTF-8
MAX_METADATA = 256  # metadata rows
MAX_LAYERS = 64  # layers in one file
MAX_MODELS = 256  # models in one file
MAX_TILES = 1 << 24  # tiles in one layer
MAX_DIRECTORY_BYTES = 256 << 20  # one layer's tile directory, compressed or not
MAX_DEFLATE_RATIO = 1032  # no deflate stream expands further, so a directory that claims more is lying
MAX_QUERY_S = 60.0  # longest time for one query inside SQLite
