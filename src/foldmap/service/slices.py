"""Files sent whole or in part: entity tags, conditions and ranges, as RFC 9110 has them."""

from __future__ import annotations

import asyncio
import os
import re
from typing import BinaryIO
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from foldmap.service.problems import Problem

_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


class FileAnswer(Response):
    """A file, or the one range of it that was asked for; it is closed when it was sent.

    Args:
        request: tells conditions and range. Of several ranges none is heeded, as servers may do.
        file: open; read at places, so several answers may share its content.
        size_bytes: of it.
        etag: strong, without quotes: the same bytes, and no others, have it.
        name: that a browser may save it under.

    Raises:
        Problem: 416, the range begins after the end.
    """

    def __init__(self, request: Request, file: BinaryIO, size_bytes: int, etag: str, name: str) -> None:
        super().__init__(media_type="application/octet-stream")
        self._file, quoted = file, f'"{etag}"'
        self._start, self._stop = 0, size_bytes
        self._head = request.method == "HEAD"
        headers = {"ETag": quoted, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
        if matches(request.headers.get("if-none-match", ""), quoted):
            self.status_code, self._stop = 304, 0
        elif request.headers.get("if-range", quoted) == quoted:
            part = _range_of(request.headers.get("range", ""), size_bytes)
            if part is not None:
                self.status_code, (self._start, self._stop) = 206, part
                headers["Content-Range"] = f"bytes {self._start}-{self._stop - 1}/{size_bytes}"
        if self.status_code != 304:
            headers["Content-Length"] = str(self._stop - self._start)
        self.raw_headers = [(key.lower().encode(), value.encode("latin-1")) for key, value in headers.items()]
        self.raw_headers.append((b"content-type", b"application/octet-stream"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        gone = asyncio.ensure_future(hung_up(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self._stop if self._head else self._start
            while at < self._stop and not gone.done():
                want = min(_CHUNK, self._stop - at)
                part = await asyncio.to_thread(os.pread, self._file.fileno(), want, at)
                if not part:
                    raise OSError("the file was cut while it was sent")
                at += len(part)
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._file.close()


async def hung_up(receive: Receive) -> None:
    """Ends when the client does not listen any more."""
    while (await receive())["type"] != "http.disconnect":
        pass


def matches(condition: str, quoted: str) -> bool:
    """Whether an If-None-Match names an entity tag."""
    said = [one.strip().removeprefix("W/") for one in condition.split(",")]
    return "*" in said or quoted in said


def _range_of(text: str, size_bytes: int) -> tuple[int, int] | None:
    """The one range that is asked for, as start and stop; None where all is."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many bytes
        first, last = max(0, size_bytes - int(found[2])), size_bytes - 1
        empty = int(found[2]) == 0
    else:
        first, last = int(found[1]), min(int(found[2]) if found[2] else size_bytes - 1, size_bytes - 1)
        if found[2] and int(found[2]) < first:
            return None  # no range at all, says the standard
        empty = first >= size_bytes
    if empty:
        said = f"the file has {size_bytes} bytes"
        raise Problem(416, "range", said, "ask for less", {"Content-Range": f"bytes */{size_bytes}"})
    return first, last + 1
