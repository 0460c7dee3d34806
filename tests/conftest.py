"""Fixtures shared by all tests."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from transforms.kernels.machine_code import ALL, note_filled

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# `make test` draws the same examples every time, however long that takes on a busy machine: a red build is about the
# change. `make fuzz` draws new ones.
settings.register_profile(
    "test", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", print_blob=True)
settings.load_profile(os.environ.get("GRISTMILL_EXAMPLES", "test"))

ROOT = Path(__file__).resolve().parent.parent
_connect = socket.socket.connect


def _connect_loopback(self: socket.socket, address):
    """Refuse every connection that leaves this machine, so that no test depends on the network."""
    local = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1", "localhost")
    if not local:
        raise RuntimeError(f"a test tried to reach {address!r}; tests use loopback only")
    return _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    socket.socket.connect = _connect_loopback
    yield
    socket.socket.connect = _connect


@pytest.fixture(autouse=True, scope="session")
def _no_first_use():
    """Let no test that happens to be the first one compile for all, and say so where it expects silence."""
    note_filled(ALL)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real corpora beside the checkout."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    return path
