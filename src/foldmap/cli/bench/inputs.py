"""What the benchmarks of all layers share on the command line: models, stages, the command itself, what is printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from foldmap.cli.common import bar, plain, put, say
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.source import RasterMap


def read_raster(path: Path | None, relief_band: int | None = None) -> RasterMap | None:
    """Read a whole GeoTIFF, the relief of a band mixed in where it is named; None where no path is given."""
    from foldmap.formats.raster.geotiff import open_rasters

    if path is None:
        return None
    with open_rasters([path], 1, relief_band) as source:
        return source.read(0, 0, *source.grid.shape)


def read_models(paths: list[Path] | None) -> list[Bundle]:
    """Read models from files, and from folders all that lie in them; a ConfigError where a folder holds none."""
    from foldmap.lidar.defaults import read_bundle

    return [read_bundle(path) for path in model_files(paths)]


def refuse_trained_there(
    models: Sequence[Path],
    sweeps: str | None,
    poses: Path | None,
    calibration: Path | None,
    rasters: Sequence[Path | None],
) -> None:
    """Raise a ConfigError where a lidar model was trained on the drive or the rasters that are asked about."""
    from foldmap.api.training.trained_places import drive_place, raster_place, refuse_trained_on
    from foldmap.formats.poses.trajectories import read_poses
    from foldmap.lidar.shipped import weights_folder

    if not models:
        return
    asked = [raster_place(path) for path in rasters if path is not None and path.is_file()]
    if sweeps is not None and poses is not None:
        asked.append(drive_place(Path(sweeps).name, read_poses(poses, calibration).world_SE3_sensors))
    for model in models:
        refuse_trained_on(model, asked, weights_folder())


def model_files(paths: list[Path] | None) -> list[Path]:
    """Files as they are, and of folders all models that lie in them; a ConfigError where a folder holds none."""
    found: list[Path] = []
    for path in paths or []:
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"{path} holds no models (*.safetensors)", "check the folder")
        found += inside
    return found


@contextmanager
def stages() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Give a callback that starts a named stage: its name on stderr, and a bar where that is a terminal."""
    with ExitStack() as shown:

        def start(name: str) -> Callable[[int, int], None]:
            shown.close()
            say(f"{name} ...")
            return shown.enter_context(bar(name))

        yield start


def typed(context: typer.Context) -> str:
    """The command line that gives the same run: every option that was typed, in the order of the help."""
    words = context.command_path.split()
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        value = context.params.get(option.name or "")
        if source is None or source.name != "COMMANDLINE" or option.name == "as_json":
            continue
        name = max(option.opts, key=len)
        if value is True:
            words.append(name)
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [name, str(one)]
    return shlex.join(words)


def print_rows(rows: Any, shown: Sequence[Mapping[str, Any]], keys: Sequence[str], page: Path, as_json: bool) -> None:
    """Print all rows as JSON, or some keys of those that are shown and where the page lies."""
    if as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
        return
    for row in shown:
        put({key: row[key] for key in keys if key in row}, False)
    typer.echo(str(page))


def listed(text: str) -> tuple[str, ...]:
    """The words of a list by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
