"""transforms.kernels.jit: where machine code is kept, and for how long."""

import os
from pathlib import Path

import numba

from transforms.kernels import jit
from transforms.kernels.jit import open_cache

DAY = 86_400


def test_old_machine_code_is_deleted_when_a_new_state_comes(tmp_path):
    """What was begun with in the last month stays, and so does what is no machine code of ours."""
    now = 1_000 * DAY
    for name, used in {"kernels-a": now - 31 * DAY, "kernels-b": now - 29 * DAY, "numba": 0, "kernels-c": 0}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.nbc").write_bytes(b"")
        os.utime(tmp_path / name, (used, used))
    open_cache(tmp_path / "kernels-c", now)  # of this state: from now on it is in use
    assert {path.name for path in tmp_path.iterdir()} == {"kernels-a", "kernels-b", "kernels-c", "numba"}
    open_cache(tmp_path / "kernels-d", now)
    assert {path.name for path in tmp_path.iterdir()} == {"kernels-b", "kernels-c", "kernels-d", "numba"}
    open_cache(tmp_path / "numba" / "code.nbc" / "kernels-e", now)  # a place that cannot be: nothing is raised


def test_an_installation_that_cannot_be_written_keeps_its_code_with_the_user(tmp_path, monkeypatch):
    """In a directory for each state of the kernels, too: numba's own choice would run old code after an update."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(jit.os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(jit._cache_directory()).parent == tmp_path / "gristmill"
    monkeypatch.undo()
    assert Path(jit._cache_directory()).name == Path(jit.CACHE_DIRECTORY).name
