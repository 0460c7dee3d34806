"""transforms.storage: local paths and URLs."""

import errno

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from transforms import storage


def test_a_file_url_is_its_path(tmp_path, monkeypatch):
    """Written, listed, read and removed at the path that the URL names, and not under the working directory."""
    monkeypatch.chdir(tmp_path)
    out = f"file://{tmp_path}/out"
    storage.write_json(f"{out}/deep/a.json", [1])
    assert (tmp_path / "out" / "deep" / "a.json").is_file()
    assert storage.list_directories(out) == ["deep"]
    assert storage.list_names(f"{out}/deep") == ["a.json"]
    assert storage.read_json(f"{out}/deep/a.json") == [1]
    assert storage.size(f"{out}/deep/a.json") == storage.file_hash(f"{out}/deep/a.json")[0]
    storage.private_path(f"{out}/deep/b").touch()
    assert storage.remove_private(out) == 1
    storage.remove(f"{out}/deep/a.json")
    assert storage.list_names(f"{out}/deep") == []
    storage.remove_directory(out)
    assert list(tmp_path.iterdir()) == []


CALLS = {
    "open_binary": ("_open", lambda: storage.open_binary("memory://x/a")),
    "publish": ("put_file", lambda: storage.write_text("memory://x/a", "a")),
    "size": ("info", lambda: storage.size("memory://x/a")),
    "list_names": ("ls", lambda: storage.list_names("memory://x")),
    "list_directories": ("ls", lambda: storage.list_directories("memory://x")),
    "remove": ("exists", lambda: storage.remove("memory://x/a")),
    "remove_directory": ("exists", lambda: storage.remove_directory("memory://x")),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_server_says_is_an_error_of_the_systems(monkeypatch, name):
    """Libraries behind a URL have errors of their own, which nobody above knows."""
    method, call = CALLS[name]

    class RefusedError(Exception):
        pass

    def refuse(*args, **kwargs):
        raise RefusedError("not today")

    monkeypatch.setattr(MemoryFileSystem, method, refuse)
    with pytest.raises(OSError, match="not today") as caught:
        call()
    assert caught.value.errno == errno.EIO
    assert caught.value.filename.startswith("memory://x")


def test_reading_behind_a_url_fails_alike(monkeypatch):
    """Also when the server stops in the middle of a file; absent files are absent."""
    storage.write_text("memory://storage/a", "abc")
    with storage.open_binary("memory://storage/a") as handle:
        assert handle.read() == b"abc"
    with storage.open_binary("memory://storage/a") as handle:
        monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", lambda *_: 1 / 0)
        with pytest.raises(OSError, match="ZeroDivisionError"):
            handle.read()
    with pytest.raises(FileNotFoundError):
        storage.open_binary("memory://storage/gone")
    assert storage.size("memory://storage/gone") == -1
