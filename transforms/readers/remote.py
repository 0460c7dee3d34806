"""Files behind a URL: fsspec opens them, and what goes wrong is told in one line as the system's own errors are."""

import contextlib
import errno
import io
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

# What to install for a protocol, where it is one of our extras.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}

WEB = ("http://", "https://")

# Before the second and the third try: what passes is a connection that is reset, a server that has too much to do. The
# clients of S3, GCS and the hub wait longer of their own accord; that of the web does not.
WAITS_S = (0.5, 2.0)

# What a connection says that is gone or cannot be made: a server that is down, as one that answers 503.
_DOWN = (errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH)

T = TypeVar("T")


def is_url(path: str) -> bool:
    """True for what fsspec opens; a local path never holds `://`."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def filesystem_of(path: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the name it gives the file.

    Raises:
        ValueError: nobody knows the protocol, or the package that does is not installed.
    """
    import fsspec.core  # noqa: PLC0415  # 0.1 s that a local run does not need

    try:
        return fsspec.core.url_to_fs(path)
    except ImportError as error:
        extra = _EXTRAS.get(path.partition("://")[0].lower())
        hint = f"; pip install 'gristmill[{extra}]'" if extra else ""
        raise ValueError(f"cannot open {path}: {_line(error)}{hint}") from error
    except ValueError as error:
        raise ValueError(f"cannot open {path}: {_line(error)}") from error


def open_remote(path: str, block_bytes: int | None = None) -> BinaryIO:
    """Open a URL as stored, seekable; `block_bytes` is what is asked of its server at once.

    Raises:
        OSError: the file is gone or unreadable, or the server does not answer; so do reading and seeking, with ESPIPE
            where a web server sends whole files only and this one is not read from its beginning on.
        ValueError: nobody knows the protocol, or the package that does is not installed.
    """
    filesystem, name = filesystem_of(path)
    if path.startswith(WEB):
        from transforms.readers.web import BLOCK_BYTES, WebFile  # noqa: PLC0415  # aiohttp is an extra

        return buffered(path, answer(path, lambda: WebFile(filesystem, name, block_bytes or BLOCK_BYTES)))
    return buffered(path, answer(path, lambda: filesystem.open(name, "rb", block_size=block_bytes)))


def buffered(path: str, file: Any) -> BinaryIO:
    """Return a file of fsspec, or a WebFile, as one whose errors are those of the system."""
    return cast("BinaryIO", io.BufferedReader(_RemoteFile(path, file), _BUFFER_BYTES))


_BUFFER_BYTES = 1 << 16  # blocks of 5 MB are held below; this only saves calls


class _RemoteFile(io.RawIOBase):
    """Such a file whose errors are OSErrors with a number: one without would be taken for damage of the file."""

    def __init__(self, path: str, file: Any) -> None:
        super().__init__()
        self._path = path
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = answer(self._path, lambda: self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return answer(self._path, lambda: int(self._file.seek(offset, whence)))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


def answer(path: str, ask: Callable[[], T]) -> T:
    """Return what `ask` returns, which asks the server of a URL; what may pass is waited out, three tries in all.

    Raises:
        OSError: of one line that names the file.
    """
    waits_s = iter(WAITS_S)
    while True:
        try:
            with told_as_os_errors(path):
                return ask()
        except OSError as error:
            wait_s = next(waits_s, None)
            if error.errno != errno.EIO or wait_s is None:
                raise
        time.sleep(wait_s)


@contextlib.contextmanager
def told_as_os_errors(path: str) -> Iterator[None]:
    """Raise what the libraries behind fsspec raise as an OSError of one line that names the file.

    aiohttp and botocore have errors of their own: an answer of 500, no credentials, no such host.
    """
    try:
        yield
    except Exception as error:
        # fsspec calls every answer of a web server that is not the file "not found", and keeps the answer as the cause.
        status = getattr(error, "status", None) or getattr(error.__cause__, "status", None)
        status = status or getattr(getattr(error, "response", None), "status_code", None)  # of the hub's errors
        is_cut = type(error.__cause__).__module__.startswith("aiohttp.")  # no answer: the connection broke
        if status in (401, 403) or isinstance(error, PermissionError):
            number = errno.EACCES
        elif status in (404, 410) or (status is None and isinstance(error, FileNotFoundError) and not is_cut):
            number = errno.ENOENT
        else:
            number = getattr(error, "errno", None) or errno.EIO
            number = errno.EIO if number in (errno.ENOENT, *_DOWN) else number
        raise OSError(number, _line(error), path) from error  # of the subclass for the number


def _line(error: BaseException) -> str:
    """Return what an error says in one line, without its number."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        said = str(error.__cause__)
    text = " ".join(said.split())
    return text if isinstance(error, OSError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")
