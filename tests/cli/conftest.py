"""Fixtures of the command line's tests; `cli_place` makes what they hold."""

from pathlib import Path

import pytest
from cli_place import Ran, Run, ground, make_bundle, tum, write_sweeps, write_tif
from typer.testing import CliRunner


@pytest.fixture
def run() -> Run:
    """Run the command line in this process; an exception that is a bug is raised."""
    from foldmap.cli import app

    def call(*arguments: object) -> Ran:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """map.tif, model.safetensors, sweeps/, truth.txt, prior.txt and map.fold; read only."""
    from foldmap.api.folding import LidarOptions, fold

    folder = tmp_path_factory.mktemp("place")
    write_tif(folder / "map.tif", ground())
    (folder / "model.safetensors").write_bytes(make_bundle().to_bytes())
    write_sweeps(folder / "sweeps", 3)
    (folder / "truth.txt").write_text(tum(3))
    (folder / "prior.txt").write_text(tum(3, (0.3, -0.2)))
    fold(folder / "map.tif", folder / "map.fold", lidar=LidarOptions(model=folder / "model.safetensors"))
    return folder
