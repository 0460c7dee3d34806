"""Checkpoints: whole or absent, refused when damaged, kept by number."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from pipeline.pretrain import checkpoint
from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.checkpoint import (
    CheckpointWriter,
    collect_tensors,
    load_checkpoints,
    restore_tensors,
    save_checkpoint,
)
from pipeline.pretrain.model import build_model
from pipeline.pretrain.optimizer import build_optimizers

TENSORS = {"a": torch.arange(6.0), "b": torch.ones(2, 2)}


def _steps(directory):
    return [loaded.record["step"] for loaded in load_checkpoints(directory, [])]


def _save(directory, step, keep=2):
    return save_checkpoint(directory, {**TENSORS, "step": torch.tensor(step)}, {"step": step}, keep=keep)


def test_newest_first_and_old_ones_deleted(tmp_path):
    """The newest `keep` checkpoints are there, newest first, with their tensors."""
    for step in (5, 10, 100):
        _save(tmp_path, step)
    assert _steps(tmp_path) == [100, 10]
    loaded = next(load_checkpoints(tmp_path, []))
    assert torch.equal(loaded.tensors["a"], TENSORS["a"])
    assert loaded.tensors["step"].item() == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def _cut(path: Path) -> None:
    (path / "state.safetensors").write_bytes((path / "state.safetensors").read_bytes()[:-3])


def _flip(path: Path) -> None:
    data = bytearray((path / "state.safetensors").read_bytes())
    data[-3] ^= 1
    (path / "state.safetensors").write_bytes(data)


def _change_record(path: Path) -> None:
    record = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**record, "step": 11}))


def _cut_record(path: Path) -> None:
    (path / "checkpoint.json").write_text((path / "checkpoint.json").read_text()[:20])


def _lose_state(path: Path) -> None:
    (path / "state.safetensors").unlink()


@pytest.mark.parametrize("damage", [_cut, _flip, _change_record, _cut_record, _lose_state])
def test_damaged_ones_above_do_not_count(tmp_path, damage):
    """Resumed below damaged checkpoints, a run keeps what it writes and the good one before, and they go."""
    for step in (5, 100, 200):
        _save(tmp_path, step, keep=3)
    damage(tmp_path / "step-00000100")
    damage(tmp_path / "step-00000200")
    assert _save(tmp_path, 10, keep=1).exists()
    assert _steps(tmp_path) == [10]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cut_one_below_does_not_count(tmp_path):
    """With two kept, the good one before a cut one stays."""
    for step in (5, 10):
        _save(tmp_path, step)
    _cut(tmp_path / "step-00000010")
    _save(tmp_path, 12)
    assert _steps(tmp_path) == [12, 5]


@pytest.mark.parametrize("damage", [_cut, _flip, _change_record, _cut_record, _lose_state])
def test_damaged_one_is_refused_and_the_one_before_loads(tmp_path, damage):
    """Any damage to the newest checkpoint is noticed; the one before it is taken and the reason is kept."""
    _save(tmp_path, 5)
    damage(_save(tmp_path, 10))
    refused = []
    assert next(load_checkpoints(tmp_path, refused)).record["step"] == 5
    assert len(refused) == 1
    assert "step-00000010: damaged checkpoint refused" in refused[0]


class _CrashError(Exception):
    """Stands for the power failing."""


@pytest.mark.parametrize("crash_at", range(8))
def test_crash_between_any_two_calls_leaves_a_whole_checkpoint(tmp_path, monkeypatch, crash_at):
    """A crash at any write, fsync, rename or delete leaves the old or the new checkpoint, and the next save works."""
    _save(tmp_path, 5, keep=1)
    calls = []

    def crashing(function):
        def call(*args, **kwargs):
            calls.append(function)
            if len(calls) > crash_at:
                raise _CrashError
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", crashing(checkpoint.write_tensors))
        patch.setattr(Path, "write_text", crashing(Path.write_text))
        patch.setattr(os, "fsync", crashing(os.fsync))
        patch.setattr(Path, "rename", crashing(Path.rename))
        patch.setattr(checkpoint.shutil, "rmtree", crashing(checkpoint.shutil.rmtree))
        try:
            _save(tmp_path, 10, keep=1)
        except _CrashError:
            assert len(calls) == crash_at + 1
        else:
            assert len(calls) <= crash_at
    assert _steps(tmp_path)[0] in (5, 10)
    _save(tmp_path, 15, keep=1)
    assert _steps(tmp_path) == [15]
    assert len(list(tmp_path.iterdir())) == 1


def test_writing_in_the_background(tmp_path):
    """What is written is what was collected, whatever the training does meanwhile, byte for byte."""
    model = build_model(architecture_of("bert-tiny", vocab_size=30, positions=8, pad_id=0, layers=1), seed=0)
    optimizers = build_optimizers(model, "muon", lr=0.01, weight_decay=0.1)
    tensors = collect_tensors(model, optimizers)
    save_checkpoint(tmp_path / "at_once", tensors, {"step": 1}, keep=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    writer = CheckpointWriter(tmp_path / "behind", keep=1)
    writer.save(tensors, {"step": 1})
    writer.wait()
    first, second = (tmp_path / name / "step-00000001" for name in ("at_once", "behind"))
    for name in ("state.safetensors", "checkpoint.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """`save` returns before the file is written; the next one and `wait` do not; the log is on disk before the file."""
    order, go = [], threading.Event()
    real = checkpoint.write_tensors

    def slow(path, tensors):
        order.append("file")
        assert go.wait(60)
        real(path, tensors)

    monkeypatch.setattr(checkpoint, "write_tensors", slow)
    writer = CheckpointWriter(tmp_path, keep=2, before=lambda: order.append("log"))
    writer.save(TENSORS, {"step": 1})
    order.append("trained")
    assert _steps(tmp_path) == []
    go.set()
    writer.wait()
    assert _steps(tmp_path) == [1]
    assert order.index("log") < order.index("file")
    assert "trained" in order


def test_full_disk_is_told(tmp_path, no_room):
    """A checkpoint that cannot be written raises at the next occasion and leaves the one before it."""
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.save(TENSORS, {"step": 1})
    writer.wait()
    with no_room(1 << 16):
        writer.save({"large": torch.zeros(1 << 16)}, {"step": 2})
        with pytest.raises(OSError, match=r"state\.safetensors could not be written \(.*File too large"):
            writer.wait()
    assert _steps(tmp_path) == [1]
    assert writer.last() == "step-00000001"


def test_copies_of_others_are_left_alone(tmp_path):
    """What somebody put beside the checkpoints to keep it is neither deleted nor taken for the newest."""
    shutil.copytree(_save(tmp_path, 5), tmp_path / "step-00000005-best")
    (tmp_path / "step-notes").write_text("the good one is 5")
    for step in (10, 15):
        _save(tmp_path, step, keep=1)
    assert _steps(tmp_path) == [15]
    left = ["step-00000005-best", "step-00000015", "step-notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize("name", ["adamw", "stableadamw", "muon"])
def test_restored_run_goes_on_bit_equal(tmp_path, name):
    """Model and optimizer through a file and back take the same next steps as the ones that never stopped."""

    def fresh():
        model = build_model(architecture_of("bert-tiny", vocab_size=30, positions=8, pad_id=0, layers=1), seed=0)
        return model, build_optimizers(model, name, lr=0.01, weight_decay=0.1)

    def step(model, optimizers, number):
        generator = torch.Generator().manual_seed(number)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()

    model, optimizers = fresh()
    for number in range(3):
        step(model, optimizers, number)
    save_checkpoint(tmp_path, collect_tensors(model, optimizers), {"step": 3}, keep=1)
    other, other_optimizers = fresh()
    restore_tensors(next(load_checkpoints(tmp_path, [])).tensors, other, other_optimizers)
    for number in range(3, 5):
        step(model, optimizers, number)
        step(other, other_optimizers, number)
    expected, got = (collect_tensors(*pair) for pair in ((model, optimizers), (other, other_optimizers)))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert any(key.startswith("optimizer.") for key in expected)
