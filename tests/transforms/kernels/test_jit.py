"""transforms.kernels.jit: what happens to a kernel that does not compile."""

import fcntl
from pathlib import Path

import pytest
from numba.core.errors import NumbaError

from transforms.kernels import jit
from transforms.kernels.jit import kernel


@kernel
def first_of(values):
    """Compiles for what has places, and for nothing else."""
    return values[0]


def is_locked(compiled):
    """Whether somebody holds the lock of a kernel's code on disk."""
    cache = compiled._cache
    with (Path(cache.cache_path) / f"{cache._impl.filename_base}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.skipif(not jit.MAY_KEEP, reason="machine code is kept nowhere here")
def test_a_kernel_that_does_not_compile_keeps_no_lock(monkeypatch):
    """Another process would wait for it until this one ends; for other types it compiles as before."""
    with pytest.raises(NumbaError):
        first_of(1.5)
    assert not is_locked(first_of)

    def interrupted(*_):
        assert is_locked(first_of)
        raise KeyboardInterrupt

    monkeypatch.setattr(first_of._compiler, "_compile_core", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first_of((2.5, 3.5))
    assert not is_locked(first_of)
    monkeypatch.undo()
    assert first_of((7, 8)) == 7
    assert not is_locked(first_of)
