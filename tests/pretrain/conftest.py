"""The output directory of a run up to the tokenize stage."""

import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.pretrain.shards import make_rows, write_split, write_tokenizer


@pytest.fixture(autouse=True)
def _one_thread():
    """Models of tests are small: a second thread waits more than it works, and much more on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture
def no_room():
    """Within it no file grows beyond so many bytes: to a program what a full disk is."""

    @contextmanager
    def limited(num_bytes: int):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)

    return limited


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output directory as the tokenize stage leaves it."""
    write_tokenizer(tmp_path / "tokenizer")
    write_split(tmp_path / "shards" / "train", make_rows(40, 1))
    write_split(tmp_path / "shards" / "validation", make_rows(20, 2), num_files=1)
    return tmp_path
