"""One self-contained HTML page: headings, words, tables and pictures, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foldmap.atlas.whole import write_whole
from foldmap.errors import InputError, WriteError

_CSS = """
:root{--ink:#1d2733;--quiet:#5f6b78;--line:#dfe3e8;--accent:#d1495b;--pale:#f6f7f9}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:var(--ink);
background:#fff;margin:0;padding:3rem 1.25rem 5rem}
main{max-width:66rem;margin:0 auto}
h1{font-size:2rem;line-height:1.2;margin:0 0 .4rem;letter-spacing:-.015em}
h2{font-size:1.3rem;margin:3rem 0 .6rem;padding-top:1rem;border-top:2px solid var(--ink)}
h3{font-size:1.05rem;margin:2rem 0 .4rem}
p{max-width:46rem;margin:.5rem 0 1rem}
.lead{font-size:1.1rem;color:var(--quiet)}
figure{margin:1.2rem 0 1.8rem;overflow-x:auto}
figure img{display:block;max-width:100%;height:auto}
figcaption,.note{color:var(--quiet);font-size:.9rem;margin:.5rem 0 0;max-width:46rem}
.note{margin-bottom:1.8rem}
.scroll{overflow-x:auto;margin:1rem 0 .5rem}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums;min-width:60%}
th{text-align:right;font-weight:600;padding:.4rem .8rem;border-bottom:1.5px solid var(--ink);vertical-align:bottom}
td{text-align:right;padding:.32rem .8rem;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:.2rem}
tr.ours td{font-weight:600;color:var(--accent);background:var(--pale)}
code,pre{font:.88rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--pale)}
code{padding:.1em .3em;border-radius:3px}
pre{padding:.8rem 1rem;border-radius:6px;overflow-x:auto}
@media (prefers-color-scheme:dark){:root{--ink:#e8ecf0;--quiet:#9aa6b2;--line:#333c46;--accent:#ff7d8b;--pale:#1c2229}
body{background:#12161b}figure img{background:#fff;border-radius:6px;padding:.4rem}}
@media (max-width:40rem){body{padding:1.2rem .8rem 3rem}h1{font-size:1.5rem}h2{margin-top:2rem}}
@media print{body{padding:0}h2{break-after:avoid}figure,table{break-inside:avoid}}
"""


class Page:
    """A report that is written top to bottom: its title, a sentence or two to lead, and what is added."""

    def __init__(self, title: str, lead: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        if lead:
            self._parts.append(f'<p class="lead">{html.escape(lead)}</p>')

    def heading(self, text: str, level: int = 2) -> Page:
        """Add a heading of level 2 or 3."""
        level = min(max(level, 2), 3)
        self._parts.append(f"<h{level}>{html.escape(text)}</h{level}>")
        return self

    def text(self, text: str) -> Page:
        """Add a paragraph of plain text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")
        return self

    def command(self, text: str) -> Page:
        """Add a command that reproduces what stands beside it."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")
        return self

    def figure(self, image: bytes, caption: str, alt: str = "") -> Page:
        """Add a PNG or SVG picture, embedded. Raises `InputError`: it is neither."""
        if image.startswith(b"\x89PNG\r\n"):
            kind = "image/png"
        elif b"<svg" in image[:2000]:
            kind = "image/svg+xml"
        else:
            raise InputError("a picture is neither PNG nor SVG", "render it with foldmap.report")
        data = base64.b64encode(image).decode("ascii")
        self._parts.append(
            f'<figure><img alt="{html.escape(alt or caption, quote=True)}" src="data:{kind};base64,{data}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
        return self

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], caption: str = "") -> Page:
        """Add a table; rows whose first column starts with foldmap are set off.

        A row's missing or not measured value shows as a dash, numbers with three significant digits. Columns are key ->
        heading, in order; the caption stands below.
        """
        head = "".join(f"<th>{html.escape(title)}</th>" for title in columns.values())
        body = []
        for row in rows:
            cells = [format_cell(row.get(key)) for key in columns]
            ours = ' class="ours"' if cells and cells[0].startswith("foldmap") else ""
            body.append(f"<tr{ours}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        # Below the box that scrolls, or a phone would cut the words.
        note = f'<p class="note">{html.escape(caption)}</p>' if caption else ""
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table></div>{note}"
        )
        return self

    def html(self) -> str:
        """Return the whole page."""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{html.escape(self._title)}</title><style>{_CSS}</style></head>\n<body><main>\n"
            + "\n".join(self._parts)
            + "\n</main></body></html>\n"
        )

    def write(self, path: Path) -> Path:
        """Write the page whole or not at all; `InputError` where the folder cannot be written."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.html())
        except (OSError, WriteError) as error:
            why = error.message if isinstance(error, WriteError) else f"{path} cannot be written: {error.strerror}"
            raise InputError(why, "choose another folder") from error
        return path


def format_cell(value: Any) -> str:
    """Write a table cell: text as it is, integers whole, numbers with three significant digits, nothing as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"  # noqa: RUF001 - the dash of a table
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    decimals = min(5, max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9)))
    return f"{value:,.{decimals}f}"
