"""A file behind a web server: in blocks where the server sends the ranges it is asked for, as one stream elsewhere.

Many servers ignore `Range` and say so only by answering 200 (that of Python is one), some answer 206 with other bytes.
So each answer is compared with what was asked for. fsspec's own file believes any 206, takes 416 for the end of the
file, gives up behind the first block of a server without ranges, and ends a stream after five minutes.
"""

import errno
import io
import re
from typing import Any

import aiohttp
from fsspec.asyn import sync

BLOCK_BYTES = 5 << 20  # asked for at once beside what is read
_WHOLE_ONLY = "its web server sends whole files only, and this one is read from several places; copy it to a disk first"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
# Records of a stream may take longer than aiohttp's five minutes for all of it: only silence counts.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=300)


class _NoRangeError(Exception):
    """The answer is not the range that was asked for."""


class WebFile:
    """The bytes of a URL, readable from any place if its server knows ranges, else from the beginning on.

    A stream that breaks off is asked for again by the next call and read over up to where it was: no byte is lost or
    comes twice. Memory is a block beside what is asked for.

    Args:
        filesystem: fsspec's for the web.
        url: of the file.
        block_bytes: asked for at once; a file that is no longer is asked for whole, which every server can answer.

    Raises:
        OSError: with ESPIPE, so do reading and seeking: the server sends whole files only, and this one is not read
            from its beginning on; with ESTALE, so does reading: it has changed meanwhile.
        Exception: whatever the client raises, so do reading and seeking.
    """

    def __init__(self, filesystem: Any, url: str, block_bytes: int = BLOCK_BYTES) -> None:
        self._filesystem, self._url, self._block_bytes = filesystem, url, block_bytes
        info = filesystem.info(url)
        self._size = int(info["size"] or 0)  # 0 where nobody tells
        self._at = 0
        self._block, self._block_at = b"", 0
        self._is_stream = not self._size or not info.get("partial", True)
        self._has_sought = False
        self._response: aiohttp.ClientResponse | None = None
        self._version: tuple[str | None, ...] = ()  # of the file in the stream

    def read(self, num_bytes: int) -> bytes:
        """Return up to so many bytes, none only at the end of the file."""
        data = b""
        if not self._is_stream:
            try:
                data = self._ranged(num_bytes)
            except _NoRangeError:
                if self._has_sought:
                    raise OSError(errno.ESPIPE, _WHOLE_ONLY) from None
                self._is_stream = True
        if self._is_stream:
            data = sync(self._filesystem.loop, self._streamed, num_bytes)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which only a server that knows ranges allows."""
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._is_stream and (target != self._at or whence == io.SEEK_END):  # whose size may not be known
            raise OSError(errno.ESPIPE, _WHOLE_ONLY)
        self._has_sought |= target != self._at
        self._at = target
        return target

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def close(self) -> None:
        """Let go of the server."""
        if self._response is not None:
            sync(self._filesystem.loop, self._drop)

    def _ranged(self, num_bytes: int) -> bytes:
        if self._at >= self._size:
            return b""
        place = self._at - self._block_at
        if not 0 <= place < len(self._block):
            is_short = self._size <= self._block_bytes
            start = 0 if is_short else self._at
            stop = self._size if is_short else min(self._at + num_bytes + self._block_bytes, self._size)
            self._block = b""
            self._block = sync(self._filesystem.loop, self._range, start, stop)
            self._block_at, place = start, self._at - start
        return self._block[place : place + num_bytes]

    async def _range(self, start: int, stop: int) -> bytes:
        """Return bytes from `start` on, as many up to `stop` as the server likes to send."""
        async with await self._get({"Range": f"bytes={start}-{stop - 1}"}) as response:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if "Content-Encoding" in response.headers:
                raise _NoRangeError
            if response.status == 200 and (start, stop) == (0, self._size) and response.content_length == stop:
                return await response.content.readexactly(stop)
            if response.status != 206 or found is None or int(found[1]) != start or int(found[2]) < start:
                raise _NoRangeError
            if found[3] not in ("*", str(self._size)):
                raise OSError(errno.ESTALE, f"it has {found[3]} bytes now, and had {self._size}")
            return await response.content.readexactly(min(int(found[2]) + 1, stop) - start)

    async def _streamed(self, num_bytes: int) -> bytes:
        try:
            if self._response is None:
                self._response = await self._get({})
                await self._read_over(self._response)
            return await self._next(self._response, num_bytes)
        except BaseException:
            await self._drop()
            raise

    async def _read_over(self, response: aiohttp.ClientResponse) -> None:
        """Bring a stream to where reading stands."""
        version = tuple(response.headers.get(name) for name in ("ETag", "Last-Modified"))
        if self._version not in ((), version):
            raise OSError(errno.ESTALE, "it has changed while it was read")
        self._version = version
        over = self._at
        while over and (data := await response.content.read(over)):
            over -= len(data)
        if over:
            raise OSError(errno.EIO, f"it ends after {self._at - over} bytes, and {self._at} were read before")

    async def _next(self, response: aiohttp.ClientResponse, num_bytes: int) -> bytes:
        data = await response.content.read(num_bytes)
        # A connection that is closed early looks like the end of a file whose length the answer does not tell.
        if not data and num_bytes and self._at < self._size and "Content-Encoding" not in response.headers:
            raise OSError(errno.EIO, f"it ends after {self._at} of {self._size} bytes")
        return data

    async def _get(self, headers: dict[str, str]) -> aiohttp.ClientResponse:
        # A server that compresses what it sends does so for all of a file, and knows no ranges of it.
        given = self._filesystem.kwargs
        headers = {**given.get("headers", {}), "Accept-Encoding": "identity", **headers}
        session = await self._filesystem.set_session()
        url = self._filesystem.encode_url(self._url)
        response: aiohttp.ClientResponse = await session.get(url, **{"timeout": _TIMEOUT, **given, "headers": headers})
        response.raise_for_status()
        return response

    async def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
