"""Reading a whole file to say what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path

from foldmap.atlas import limits
from foldmap.atlas.reader import FoldFile
from foldmap.errors import MapFormatError


def verify(path: str | Path) -> list[str]:
    """What is wrong in any row or page of a file, a line each, naming layer, tiles or model; empty for a sound one."""
    try:
        fold = FoldFile.open(path)
    except MapFormatError as error:
        return [str(error)]
    with fold:
        return [*_contents(fold), *_pages(fold)]


def _contents(fold: FoldFile) -> Iterator[str]:
    for layer in fold.layers():
        for model in layer.models:
            try:
                fold.model(layer.name, model.name)
            except MapFormatError as error:
                yield str(error)
        keys = fold.tiles(layer.name)
        for bundle, members in fold.bundles(layer.name):
            try:
                fold.bundle(layer.name, bundle)
            except MapFormatError as error:
                first, last = keys[members.start], keys[members.stop - 1]
                yield f"{error}: tiles {first} to {last} (column, row) are lost"


def _pages(fold: FoldFile) -> Iterator[str]:
    database = fold.database
    try:
        listed = sum(len(fold.bundles(layer.name)) for layer in fold.layers())
        rows = database.rows("SELECT count(*) FROM tiles", most=1, longest=limits.MAX_NAME_BYTES)[0][0]
        if rows != listed:
            yield f"{fold.path.name}: {rows} rows in table tiles, {listed} in the directories"
    except MapFormatError as error:
        yield str(error)
    yield from (f"{fold.path.name}: {complaint}" for complaint in database.check_pages())
