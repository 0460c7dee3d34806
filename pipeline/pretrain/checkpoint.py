"""Checkpoints: a directory that is whole or absent.

    OUT/checkpoints/step-00001000/state.safetensors    weights and optimizer state
                                  checkpoint.json      step, settings, checksums

The directory gets its name when both files are on disk: a crash at any moment leaves one named `.tmp-...` or nothing. A
file that rotted or was cut later is refused by its checksum, and the checkpoint before it is taken.
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.pretrain.disk import sync, write_tensors
from pipeline.pretrain.pretrained_config import CHECKPOINT_RECORD
from pipeline.pretrain.sharding import is_sharded, like, whole

WEIGHTS = "model."  # begins the names of the weights
_NAME = re.compile(r"step-\d{8,}")
_STATE, _RECORD = "state.safetensors", CHECKPOINT_RECORD


class Checkpoint(NamedTuple):
    """One loaded checkpoint: tensors by name, and the record beside them."""

    path: Path
    tensors: dict[str, Tensor]
    record: dict[str, Any]


def collect_tensors(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return copies of every tensor the next step depends on: `model.NAME` and `optimizer.NAME.STATE`.

    They stay on their device, where a gigabyte is copied in under a millisecond; over the bus it would be 20 to 200, so
    that is left to the writer. Of a sharded model they are gathered, one by one, onto the CPU (all of them may not fit
    on one GPU), and every process must call this.
    """
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"{WEIGHTS}{name}"] = parameter
        for optimizer in optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
    sharded = is_sharded(model)
    return {key: whole(v.detach()).cpu() if sharded else v.detach().clone() for key, v in tensors.items()}


@torch.no_grad()
def restore_tensors(tensors: dict[str, Tensor], model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    """Put `tensors` of `collect_tensors` back in place, bit by bit."""
    owners = {id(p): o for o in optimizers for group in o.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        parameter.copy_(like(tensors[f"{WEIGHTS}{name}"], parameter))
        prefix = f"optimizer.{name}."
        state = {key[len(prefix) :]: value.clone() for key, value in tensors.items() if key.startswith(prefix)}
        if state:
            owners[id(parameter)].state[parameter] = {key: like(value, parameter) for key, value in state.items()}


def save_checkpoint(directory: Path, tensors: dict[str, Tensor], record: dict[str, Any], *, keep: int) -> Path:
    """Write `directory/step-N` (N is `record["step"]`) and delete all but the newest `keep` checkpoints up to it.

    What lies above N was refused when the run was resumed below it; like all that is visibly damaged it does not count
    as kept, or a good checkpoint, even this one, would go in its place.

    Args:
        directory: OUT/checkpoints.
        tensors: of `collect_tensors`.
        record: JSON values; checksums are added.
        keep: at least 1.

    Returns:
        the path of the new checkpoint.
    """
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / f"step-{record['step']:08d}"
    draft = directory / f".tmp-{final.name}-{os.getpid()}"
    for stale in directory.glob(".tmp-*"):
        shutil.rmtree(stale)
    draft.mkdir()
    write_tensors(draft / _STATE, tensors)
    record = {**record, "bytes": (draft / _STATE).stat().st_size, "sha256": _sha256(draft / _STATE)}
    record["record_sha256"] = _record_sha256(record)
    (draft / _RECORD).write_text(json.dumps(record, indent=1))
    for path in (draft / _STATE, draft / _RECORD, draft):
        sync(path)
    if final.exists():
        shutil.rmtree(final)
    draft.rename(final)
    sync(directory)
    kept = [path for path in _newest_first(directory) if path.name <= final.name and _is_whole(path)][:keep]
    for old in _newest_first(directory):
        if old != final and old not in kept:
            shutil.rmtree(old)
    return final


class CheckpointWriter:
    """Writes checkpoints beside the training, one at a time; the run waits only while tensors are copied.

    Saving in a thread and saving at once give the same bytes. What takes the thread's time (the copy from the device,
    safetensors, hashing, fsync) leaves the interpreter to the training: while 400 MB were written it stood still for
    5 ms, as with nothing to write.

    Args:
        directory: OUT/checkpoints.
        keep: number of newest checkpoints kept.
        before: called in the thread before each checkpoint, to bring to disk what must not be older than it.
    """

    def __init__(self, directory: Path, *, keep: int, before: Callable[[], None] = lambda: None) -> None:
        self._directory = directory
        self._keep = keep
        self._before = before
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Start to write `tensors`, which must not change any more; first wait for the checkpoint before."""
        self.wait()
        device = next((value.device for value in tensors.values() if value.is_cuda), None)
        copied = torch.cuda.current_stream(device).record_event() if device else None
        self._thread = threading.Thread(target=self._write, args=(tensors, record, copied))
        self._thread.start()

    def wait(self) -> None:
        """Return when the last checkpoint is on disk.

        Raises:
            OSError: it could not be written, a full disk for instance; older checkpoints are intact.
        """
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            error, self._error = self._error, None
            raise error

    def last(self) -> str:
        """Return the name of the newest checkpoint on disk, `none` where there is none."""
        self.wait()
        return next((path.name for path in _newest_first(self._directory)), "none")

    def _write(self, tensors: dict[str, Tensor], record: dict[str, Any], copied: torch.cuda.Event | None) -> None:
        try:
            self._before()
            save_checkpoint(self._directory, _on_cpu(tensors, copied), record, keep=self._keep)
        except BaseException as error:  # noqa: BLE001 - raised again in wait()
            self._error = error


def _on_cpu(tensors: dict[str, Tensor], copied: torch.cuda.Event | None) -> dict[str, Tensor]:
    """Return `tensors` on the CPU, taken there by a stream of their own once the event `copied` has come."""
    if copied is None:
        return tensors
    stream = torch.cuda.Stream(next(value.device for value in tensors.values() if value.is_cuda))
    with torch.cuda.stream(stream):
        stream.wait_event(copied)
        return {key: value.cpu() for key, value in tensors.items()}


def load_checkpoints(directory: Path, refused: list[str]) -> Iterator[Checkpoint]:
    """Yield the intact checkpoints of `directory`, newest first; say in `refused` which are damaged and how."""
    for path in _newest_first(directory):
        try:
            yield load_checkpoint(path)
        except ValueError as error:
            refused.append(str(error))


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in `path`.

    Raises:
        ValueError: it is damaged.
    """
    try:
        record = json.loads((path / _RECORD).read_text())
        _verify(path, record)
        return Checkpoint(path, load_file(path / _STATE), record)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(f"{path}: damaged checkpoint refused ({error})") from None


def _is_whole(path: Path) -> bool:
    """Whether the record is intact and the state as long as it says; hashing all of them at each save would be dear."""
    try:
        _verify_length(path, json.loads((path / _RECORD).read_text()))
    except (OSError, ValueError, KeyError):
        return False
    return True


def _verify(path: Path, record: dict[str, Any]) -> None:
    """Raise ValueError unless the record and the state are what was written."""
    _verify_length(path, record)
    if _sha256(path / _STATE) != record["sha256"]:
        raise ValueError(f"{_STATE} does not match its checksum")


def _verify_length(path: Path, record: dict[str, Any]) -> None:
    if record.pop("record_sha256", None) != _record_sha256(record):
        raise ValueError(f"{_RECORD} does not match its checksum")
    size = (path / _STATE).stat().st_size
    if size != record["bytes"]:
        raise ValueError(f"{_STATE} has {size} bytes, {record['bytes']} were written")


def _newest_first(directory: Path) -> list[Path]:
    """Return the checkpoints; a copy that somebody put beside them under another name is none of ours to delete."""
    return sorted((path for path in directory.glob("step-*") if _NAME.fullmatch(path.name)), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_sha256(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
