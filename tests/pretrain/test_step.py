"""One step: nothing is read back from the device, and no shape depends on the data."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.model import build_model
from pipeline.pretrain.objective import losses_with, read_microbatch
from pipeline.pretrain.optimizer import build_optimizers, set_lr_share
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.step import take_step
from pipeline.pretrain.vocabulary import read_vocabulary
from pipeline.pretrain.watch import Watch
from pipeline.pretrain.world import ALONE
from tests.pretrain.shards import IDS, SEQ_LENGTH, make_pairs, write_pairs

# Each makes the host wait for the device: a value, or a number of values, must be known before it goes on.
_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::equal"}


class _NoWaiting(TorchDispatchMode):
    """Refuses every operation after which the host would know something about the data."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split(".")[0]
        indices = args[1] if name.startswith("aten::index") and isinstance(args[1], (list, tuple)) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name in _WAITS or by_mask:
            raise AssertionError(f"{name} reads from the device")
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _no_copies(monkeypatch):
    """On a CPU these are no operations, so the mode above does not see them."""

    def refuse(*args):
        raise AssertionError("reads from the device")

    for name in ("tolist", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, refuse)


def test_the_guard_sees_reading():
    """The guard itself can fail: a value, a list, a truth, a boolean index are all refused."""
    values = torch.arange(3.0)
    for reading in (
        lambda: values.sum().item(),
        lambda: float(values[1]),
        lambda: bool(values[0] > 0),
        lambda: values[values > 1],
        values.nonzero,
        values.tolist,
    ):
        with _NoWaiting(), pytest.raises(AssertionError, match="reads from the device"):
            reading()


@pytest.mark.parametrize("optimizer", ["adamw", "stableadamw", "muon"])
@pytest.mark.parametrize(("objective", "whole_word"), [("mlm", False), ("mlm", True), ("mlm+nsp", False)])
def test_no_value_is_read_back(out, tmp_path_factory, optimizer, objective, whole_word):
    """From rows in memory to updated weights and the log's pending line the host never waits for the device."""
    directory = out / "shards" / "train"
    if objective == "mlm+nsp":
        directory = tmp_path_factory.mktemp("pairs") / "train"
        write_pairs(directory, make_pairs(16, 0))
    rows = Rows(directory)
    vocabulary = read_vocabulary(rows.metadata, out / "tokenizer" / "tokenizer.json")
    settings = Settings(model="bert-tiny", objective=objective, whole_word=whole_word, optimizer=optimizer)
    architecture = architecture_of(
        "bert-tiny", vocab_size=len(IDS), positions=SEQ_LENGTH, pad_id=0, width=16, next_sentence=objective != "mlm"
    )
    model = build_model(architecture, seed=0)
    optimizers = build_optimizers(model, optimizer, lr=1e-3, weight_decay=0.01)
    losses = losses_with(attention="sdpa", dtype=torch.bfloat16, compiled=False)
    watch = Watch(
        None, lambda line: None, settings=settings, architecture=architecture, world=ALONE, first_step=0, tokens=0,
        seconds=0.0,
    )  # fmt: skip
    before = next(model.parameters()).clone()
    for step in range(2):  # the first one makes the optimizers' state
        with _NoWaiting():
            set_lr_share(optimizers, 0.5)
            numbers = np.arange(step * 8, step * 8 + 4)
            batches = [
                read_microbatch(rows, numbers + shift, settings=settings, step=step, vocabulary=vocabulary)
                for shift in (0, 4)
            ]
            taken = take_step(model, losses, optimizers, batches, num_rows=8, clip=1.0, world=ALONE)
            watch.add(step + 1, 1e-3, taken, 0.0)
    assert not torch.equal(before, next(model.parameters()))
