"""What is compiled is kept, or not, but a machine on which nothing can be written runs foldmap."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import foldmap


@pytest.mark.skipif(sys.platform == "win32", reason="numba finds a folder there")
@pytest.mark.parametrize("others", [False, True], ids=["temporary folder", "temporary folder that others may write"])
def test_an_installation_that_cannot_be_written_runs_without_a_home(tmp_path: Path, others: bool) -> None:
    installed = tmp_path / "installed" / "foldmap"
    shutil.copytree(
        Path(foldmap.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    for folder in (installed, *(path for path in installed.rglob("*") if path.is_dir())):
        (folder / "__pycache__").touch()  # a file: no folder can be made there, not by root either
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    kept = temporary / f"foldmap-{os.getuid()}"
    if others:
        kept.mkdir()
        kept.chmod(0o777)
    nowhere = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache", "TMPDIR": str(temporary)}
    there = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        place = {**there, **nowhere, "PYTHONPATH": str(installed.parent)}
        return subprocess.run([sys.executable, *words], env=place, capture_output=True, text=True, check=False)

    told = run("-c", "import foldmap, foldmap.lidar.mapping.ground; print(foldmap.__file__)")
    if others:
        assert "no locator available" in told.stderr  # what lies there would be run
        said = run("-m", "foldmap", "fold", str(tmp_path), "-o", str(tmp_path / "map.fold"))
        assert (said.returncode, said.stdout) == (2, "")
        assert said.stderr.startswith("error: there is no folder to keep compiled code in (name one ")
        assert said.stderr.count("\n") == 1
        assert not any(kept.iterdir())
        return
    assert told.stdout.strip() == str(installed / "__init__.py"), told.stderr
    assert kept.stat().st_mode & 0o077 == 0
