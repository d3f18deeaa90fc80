"""What the verbs share: bars, summaries, settings beside results, sizes in words."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from foldmap.api.plain import plain as plain
from foldmap.errors import ConfigError, MapFormatError

_READ_AT_ONCE = 100
"""Characters of values within a value that are still read in its line."""


def say(message: str) -> None:
    """Write a message for people, on stderr."""
    typer.echo(message, err=True)


def tell(notes: Iterable[str]) -> None:
    """Write what was left out or could not be used, for people, on stderr."""
    for note in notes:
        say(f"note: {note}")


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callback ``(done, total)`` that draws a bar on stderr, where that is a terminal."""
    with bars() as begin:
        yield begin(label)


@contextmanager
def bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Give what makes callbacks ``(done, total)``, a bar for each kind of work; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda doing: lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:

        def begin(doing: str) -> Callable[[int, int], None]:
            task = shown.add_task(doing, total=None)
            return lambda done, total: shown.update(task, completed=done, total=total)

        yield begin


def put(summary: Mapping[str, Any], as_json: bool) -> None:
    """Print a summary on stdout: JSON, or one aligned line a value, values within a value below it."""
    if as_json:
        typer.echo(json.dumps(plain(summary), indent=2))
        return
    for line in _lines(summary):
        typer.echo(line)
    for name, rows in _tables(summary):
        typer.echo(f"\n{name.replace('_', ' ')}\n{_table(rows)}")


def _lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    width = max(len(key) for key in values)
    for key, value in values.items():
        if _is_table(value):
            continue
        name, words = key.replace("_", " "), _words(value)
        if isinstance(value, Mapping) and len(words) > _READ_AT_ONCE:
            yield indent + name
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name:<{width}}  {words}"


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _tables(values: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Lists of rows, wherever they are, with their names."""
    for key, value in values.items():
        name = f"{of} {key}".strip()
        if isinstance(value, Mapping):
            yield from _tables(value, name)
        elif _is_table(value):
            yield name, value


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under the names of their values: words first, then numbers, to the right."""
    words = {key: all(isinstance(row.get(key), str) for row in rows) for row in rows for key in row}
    columns = sorted(words, key=lambda key: not words[key])
    cells = [[key.replace("_", " ") for key in columns], *([_words(row.get(key)) for key in columns] for row in rows)]
    sides = [("<" if words[key] else ">", max(len(line[at]) for line in cells)) for at, key in enumerate(columns)]
    padded = ([f"{cell:{side}{width}}" for cell, (side, width) in zip(line, sides, strict=True)] for line in cells)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        shown = {key: item for key, item in value.items() if not _is_table(item)}
        return ", ".join(f"{key} {_words(item)}" for key, item in shown.items()) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):  # a place on Earth, in metres, needs more than four digits
        return f"{value:,.1f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return str(value)


def save_settings(output: Path, command: str, settings: Mapping[str, Any]) -> None:
    """Write the effective settings beside a result, as OUTPUT.settings.json."""
    from foldmap.version import __version__

    chosen = {"foldmap": __version__, "command": command, **plain(settings)}
    write_text(Path(f"{output}.settings.json"), json.dumps(chosen, indent=2) + "\n")


def write_text(path: Path, content: str | bytes) -> None:
    """Write a small file; it appears only when it is whole."""
    from foldmap.atlas.whole import write_whole

    write_whole(path, content)


write_bytes = write_text


def require_folder(output: Path) -> None:
    """Check that the folder of a result is there."""
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}", "make it first")


def make_folder(folder: Path) -> None:
    """Make a folder for results."""
    from foldmap.atlas.whole import make_folder as make

    make(folder)


def require_both(sweeps: str | None, poses: Path | None) -> None:
    """Check that sweeps have their poses, and poses sweeps."""
    if (sweeps is None) != (poses is None):
        raise ConfigError("sweeps and poses belong together", "give both --sweeps and --poses")


def require_file(path: Path) -> None:
    """Check that a .fold file is there at all."""
    if not path.is_file():
        raise MapFormatError(f"there is no file {path}", "check the path")
