"""Lists that a configuration names by path: words, domains, URLs; one entry a line. No Beam."""

from transforms import storage
from transforms.readers.listing import local_etag, remote_etag


def read_list(path: str) -> list[str]:
    """Return the lines of a file without white space around them; empty ones and those that begin with # are left out.

    Raises:
        ValueError: it is no text in UTF-8.
        FileNotFoundError: there is no such file.
    """
    with storage.open_binary(path) as handle:
        content = handle.read()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no list of words in UTF-8 (byte {error.start})") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def list_version(path: str) -> str:
    """Return what tells one version of a list from another: with it a process reads a list once, not once a unit.

    Raises:
        OSError: there is no such file.
    """
    return local_etag(str(storage.local_path(path))) if storage.is_local(path) else remote_etag(path)
