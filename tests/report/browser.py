"""What a real browser makes of a page: its measures, and a picture of it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

_QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
]

# The page stands in a frame as wide as the screen asked for: a window is never narrower than 500 px.
_MEASURE = """<!DOCTYPE html><body style="margin:0"><iframe id=f style="width:{width}px;height:{height}px;border:0"
srcdoc="{page}"></iframe><script>
f.onload=()=>{{const d=f.contentDocument,v=f.contentWindow,s=v.getComputedStyle(d.body);const told={{
width:d.documentElement.scrollWidth,height:d.documentElement.scrollHeight,background:s.backgroundColor,ink:s.color,
images:[...d.images].map(i=>[i.complete,i.naturalWidth,Math.round(i.getBoundingClientRect().width)]),
cut:[...d.querySelectorAll("h1,h2,h3,p,figcaption")].filter(e=>e.getBoundingClientRect().right>{width}+0.5)
.map(e=>e.textContent)}};document.title=JSON.stringify(told)}}</script>"""


def measured(page: Path, folder: Path, width: int, height: int = 2400, dark: bool = False) -> dict[str, Any]:
    """What the page comes to on a screen of a width, CSS pixels: see `_MEASURE`."""
    frame = folder / f"frame-{width}-{dark}.html"
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frame.write_text(_MEASURE.format(width=width, height=height, page=text), encoding="utf-8")
    told = _run(folder, dark, "--dump-dom", frame.as_uri())
    found = re.search(r"<title>(.*?)</title>\s*<", told, re.S)
    assert found, told[:500]
    read: dict[str, Any] = json.loads(html.unescape(found[1]))
    return read


def _run(folder: Path, dark: bool, *words: str) -> str:
    assert BROWSER is not None
    flags = [*_QUIET, f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={int(not dark)}"]
    done = subprocess.run([BROWSER, *flags, *words], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
