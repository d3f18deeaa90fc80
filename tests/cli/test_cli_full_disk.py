"""A disk that fills up while rasters and recordings are written: an error, no file, and no waiting for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMITED = """
import resource, sys
from foldmap.cli.app import app
sys.dont_write_bytecode = True  # Python keeps half of it on a full disk, and reads that later
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
app(args=sys.argv[1:], prog_name="foldmap")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize(("verb", "name"), [("unfold", "map.tif"), ("view", "map.rrd")])
def test_what_does_not_fit_is_an_error_and_leaves_nothing(verb: str, name: str, tmp_path: Path) -> None:
    if verb == "view":
        pytest.importorskip("rerun", reason="rerun is not installed (pip install 'foldmap[view]')")
    marks = Path(__file__).parents[1] / "golden" / "v1-marks.fold"
    words = [sys.executable, "-c", LIMITED, verb, str(marks), "-o", str(tmp_path / name)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"{name} cannot be written" in done.stderr
    assert list(tmp_path.iterdir()) == []
