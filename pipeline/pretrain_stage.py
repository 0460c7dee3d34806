"""Stage four: the trainer in a process of its own, so that it never shares memory or threads with Beam."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.context import RunContext, upstream_key
from pipeline.errors import RunFailed, UserError
from pipeline.job import content_key
from pipeline.pretrain.display import RELAYED
from pipeline.pretrain.settings import Settings
from pipeline.progress import Progress
from transforms import storage
from transforms.commit import load_records

STAGE = "pretrain"
_DIRECTORIES = ("checkpoints", "model", "pretrain")
_ASIDE = "superseded"

# `python -m pipeline.pretrain` that dies with this process (Linux): two trainers on one output would mix their files.
_TRAINER = """
import ctypes, os, runpy, signal, sys
parent = int(sys.argv.pop(1))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == parent:
    runpy.run_module("pipeline.pretrain", run_name="__main__", alter_sys=True)
"""


def run(context: RunContext) -> None:
    """Train on the shards until `steps`; a repeated call resumes from the last good checkpoint.

    Raises:
        UserError: the trainer refused its settings, or OUT is not a local path.
        RunFailed: the trainer stopped; the same command resumes.
    """
    settings = context.config.pretrain
    assert settings is not None
    if not storage.is_local(context.out):
        raise UserError(
            f"pretrain reads shards from a local path; copy {context.out}/shards to the machine with the GPU"
        )
    out = Path(context.out)
    shards = load_records(context.out, settings.shards)
    tables = (f"{settings.shards}/{split}" for split in ("train", "validation"))
    key = content_key(settings.trajectory(), *(upstream_key(shards, table) for table in tables))
    state_path = out / "units" / STAGE / "state.json"  # outside of what is set aside
    state = storage.read_json(str(state_path)) or {}
    if state.get("key") == key and state.get("done") and "entry" in state:  # else the trainer, which is done, tells it
        context.set_stage(STAGE, state["entry"])  # dropped if a stage before this one was made again, with equal shards
        return
    if not context.may_run:
        raise UserError("pretrain is not complete for this configuration; run `gristmill pretrain` first")
    context.num_units_run += 1
    if state and state["key"] != key:
        if not (out / _ASIDE / key).exists():  # else it has begun already, and is only taken back
            _check(settings, out, context.progress)  # a mistake must not take a finished model away
        aside = out / _ASIDE / state["key"]
        context.say_changes()
        context.say(f"pretrain: settings or shards changed; what was trained before lies in {aside}")
        storage.write_json(str(state_path), {**state, "done": False})  # until the next line is through, nothing is done
        _move(out, aside)
        storage.write_json(str(state_path), {"key": key, "done": False, "restore": True})
        state = {"restore": True}
    if state.get("restore"):
        _move(out / _ASIDE / key, out)
    storage.write_json(str(state_path), {"key": key, "done": False})
    settings_path = out / "pretrain" / "settings.json"
    storage.write_json(str(settings_path), dataclasses.asdict(settings))
    started = time.monotonic()
    _train(settings_path, out, context.progress)
    summary = json.loads((out / "pretrain" / "summary.json").read_text(encoding="utf-8"))
    entry = {"seconds": round(time.monotonic() - started, 3), "summary": summary}
    context.set_stage(STAGE, entry)
    storage.write_json(str(state_path), {"key": key, "done": True, "entry": entry})


def _move(source: Path, target: Path) -> None:
    """Move what a training wrote, if anything: nothing is deleted, a night of it must not depend on a changed key.

    Killed half way and repeated, it moves the rest.
    """
    for name in _DIRECTORIES:
        if (source / name).exists() and not (target / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            (source / name).rename(target / name)


def _check(settings: Settings, out: Path, progress: Progress) -> None:
    """Raise UserError if the trainer would refuse to start."""
    begun = Path(settings.init_from).resolve()
    if settings.init_from and any((out / name).resolve() in (begun, *begun.parents) for name in _DIRECTORIES):
        raise UserError(
            f"pretrain.init_from: {settings.init_from} is the run's own model; give the second run an output"
        )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "settings.json"
        path.write_text(json.dumps(dataclasses.asdict(settings)), encoding="utf-8")
        _train(path, out, progress, "--check")


def _train(settings: Path, out: Path, progress: Progress, mode: str = "--relay") -> None:
    command = [sys.executable, "-c", _TRAINER, str(os.getpid()), str(settings), str(out), mode]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            last = _relay(process.stderr, progress)
        except KeyboardInterrupt:
            process.terminate()  # it leaves a checkpoint, and dies with this process: wait, unless interrupted again
            _relay(process.stderr, progress)
            process.wait()
            raise
    if process.returncode == 2:
        raise UserError(last)
    if process.returncode == -signal.SIGKILL:
        raise RunFailed("pretrain was killed from outside (out of memory?)")
    if process.returncode:
        raise RunFailed(f"pretrain ended with code {process.returncode}: {last}")


def _relay(lines: Iterable[str], progress: Progress) -> str:
    """Show the lines of the trainer until it ends, and return the last one that stays."""
    last = ""
    for line in lines:
        text = line.rstrip("\n")
        if text.startswith(RELAYED):
            progress.note(text.removeprefix(RELAYED))
        else:
            progress.say(text)
            last = line.strip() or last
    return last
