"""The next version of a .fold file: what is put replaces what was there, and the rest stays bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from foldmap.atlas.reader import FoldFile
from foldmap.atlas.writer import FoldWriter
from foldmap.errors import ConfigError


class FoldUpdater(FoldWriter):
    """Replaces, adds and removes layers, tiles, models and metadata of an existing file, in one transaction.

    Everything that is not put again stays, bit for bit. Updaters of one file wait for nobody: the second is refused.

    With `source` that file is the existing one, and stays as it is; `path` becomes its next version.
    """

    def __init__(self, path: str | Path, source: str | Path | None = None) -> None:
        super().__init__(path)
        try:
            self.before = FoldFile.open(self.path if source is None else source)
            """The file as it was when the update began; open until it ends."""
        except BaseException:
            super().close()
            raise
        self._contents.draw_all(self.before)

    def remove_layer(self, layer: str) -> None:
        """Remove a layer with its tiles and models; `add_layer` may then add another of that name."""
        self._check_layer(layer)
        self._contents.forget(layer)

    def remove_tile(self, layer: str, column: int, row: int) -> None:
        """Remove a tile; no tile there is no error."""
        self._check_tile(layer, column, row)
        self._contents.staging.put_tile(layer, int(column), int(row), None)

    def remove_model(self, layer: str, name: str) -> None:
        """Remove a model; none of that name is no error."""
        self._check_layer(layer)
        self._contents.staging.put_model(layer, name, "", None)

    def remove_metadata(self, key: str) -> None:
        """Remove a metadata value; none under that key is no error."""
        self._contents.metadata.pop(key, None)

    def order_layers(self, names: Sequence[str]) -> None:
        """Put the layers in this order; all of them, or a ConfigError."""
        if sorted(names) != sorted(self.layers):
            raise ConfigError(f"layers {', '.join(names)} are not those of the file", "name each once")
        self._contents.layers = {name: self._contents.layers[name] for name in names}

    def close(self) -> None:
        """Give up whatever was not committed; the file under the path stays as it was."""
        super().close()
        self.before.close()


@contextmanager
def update(path: str | Path, source: str | Path | None = None) -> Iterator[FoldUpdater]:
    """Open `FoldUpdater` as a transaction."""
    with FoldUpdater(path, source) as updater:
        yield updater
