"""Answers kept on disk between runs, and refused where another configuration gave them."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError

T = TypeVar("T")


def as_json(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as JSON gives it back, so that a kept one can be compared with it."""
    plain: dict[str, Any] = json.loads(json.dumps(configuration))
    return plain


class KeptAnswers:
    """A folder of JSON files, one for the answers of each method; a folder of None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, name: str, configuration: Mapping[str, Any], parse: Callable[[dict[str, Any]], T]) -> T | None:
        """Kept answers of a method, made by ``parse`` of what `write` was given; None where there are none.

        ``configuration`` is what decides them, as `as_json` gives it. Raises ConfigError: the file is damaged, or
        another configuration gave its answers.
        """
        if self._folder is None or not (path := _path(self._folder, name)).exists():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            found, answers = dict(document["configuration"]), parse(document)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} does not hold answers: {error!r}", "delete it and run again") from error
        refuse_others(path, found, configuration)
        return answers

    def write(self, name: str, configuration: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
        """Keep answers, JSON values; an interrupted run leaves no half of a file."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            document = {**answers, "configuration": configuration}
            write_whole(_path(self._folder, name), json.dumps(document, indent=1, sort_keys=True))


def refuse_others(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise a ConfigError that names what differs where another configuration than the wanted one made a file."""
    differing = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    if differing:
        raise ConfigError(
            f"{path} was made with other {', '.join(differing)}", "delete it, or write into another folder"
        )


def _path(folder: Path, name: str) -> Path:
    return folder / (re.sub(r"[^A-Za-z0-9.+@-]+", "_", name) + ".json")
