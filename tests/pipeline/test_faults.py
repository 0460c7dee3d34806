"""Faults at seeded steps of each stage: killed there, or refused by the file system; files that rot. Then equal hashes.

A step is a file of the output directory that is opened, renamed or removed, seen by an audit hook of the interpreter.
`GRISTMILL_FAULT_POINTS=50` makes the long run, whose figures are in README; the default is 5 points a stage.
"""

import errno
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.corpus import column_hashes, counts, run_stages, write_config, write_corpus

POINTS = int(os.environ.get("GRISTMILL_FAULT_POINTS", "5"))
STAGES = ("clean", "dedup", "tokenize")
COUNT, KILL, FULL = "count", "kill", "full"

# A server that has imported everything forks each run: 0.5 s instead of 4 s for a new interpreter.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pipeline.run", "tests.pipeline.corpus", __name__])


def _command(arguments: list[str], fault: str, at: int, out: str, seen: object) -> None:
    """Body of a child: one command of gristmill, with a fault at step number `at`."""
    number = 0

    def hook(event: str, values: tuple) -> None:
        nonlocal number
        if event not in ("open", "os.rename", "os.remove") or not str(values[0]).startswith(f"{out}/"):
            return
        if "progress.json" in str(values[0]):  # written once a second, so its steps are not the same twice
            return
        if event == "open" and not values[2] & (os.O_WRONLY | os.O_RDWR):
            return
        number += 1
        seen.value = number
        if number - 1 == at:
            if fault == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == FULL:
                raise OSError(errno.ENOSPC, "No space left on device", str(values[0]))

    with Path(f"{out}.err").open("w") as sys.stderr:
        sys.addaudithook(hook)
        code = main(arguments)
    os._exit(code)


def run_child(path, stage, out, *, fault=COUNT, at=-1):
    """Run a stage in a child and return its exit code, the steps that it came to, and what it said."""
    seen = _CONTEXT.Value("q", 0, lock=False)
    arguments = [stage, str(path), "--set", f"output={out}"]
    child = _CONTEXT.Process(target=_command, args=(arguments, fault, at, str(out), seen))
    child.start()
    child.join(120)
    said = Path(f"{out}.err")
    return child.exitcode, seen.value, said.read_text() if said.exists() else ""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A run after each stage: directories by the stage that comes next, and the configuration."""
    directory = tmp_path_factory.mktemp("faults")
    write_corpus(directory / "corpus", files=3 if POINTS <= 5 else 13, per_file=30)  # 55 steps of clean
    path = write_config(directory)
    found = {}
    for stage in (*STAGES, "end"):
        found[stage] = directory / f"before-{stage}"
        if (directory / "out").exists():
            shutil.copytree(directory / "out", found[stage])
        else:
            found[stage].mkdir()
        if stage != "end":
            run_stages(path, first=stage, last=stage)
    return path, found


def points(before, stage, tmp_path, wanted):
    """Return `wanted` seeded numbers of steps of a stage."""
    path, found = before
    out = tmp_path / "counted"
    shutil.copytree(found[stage], out)
    code, steps, said = run_child(path, stage, out)
    assert code == 0, said
    assert steps > 5
    return sorted(random.Random(STAGES.index(stage)).sample(range(steps), min(wanted, steps)))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("fault", "wanted", "expected"),
    [(KILL, POINTS, -signal.SIGKILL), (FULL, POINTS // 2, 3)],
    ids=["killed", "disk-full"],
)
def test_a_fault_at_any_step_changes_nothing(before, tmp_path, stage, fault, wanted, expected):
    """The stage ends with a signal, or exit code 3 and one line; repeated, it gives the undisturbed run's hashes."""
    path, found = before
    after = found[STAGES[STAGES.index(stage) + 1] if stage != STAGES[-1] else "end"]
    for at in points(before, stage, tmp_path, wanted):
        out = tmp_path / f"out-{at}"
        shutil.copytree(found[stage], out)
        code, _, said = run_child(path, stage, out, fault=fault, at=at)
        assert code == expected, (at, said)
        if fault == FULL:
            assert "No space left on device" in said.splitlines()[-1], (at, said)
            assert said.splitlines()[-1].endswith("The same command resumes."), (at, said)
        code, _, said = run_child(path, stage, out)
        assert code == 0, (at, said)
        assert column_hashes(out) == column_hashes(after), at
        assert counts(out) == counts(after), at
        assert not list(out.rglob(".*.private")), at


@pytest.mark.parametrize(
    ("table", "readers"),
    [
        ("documents", ["tokenizer-sizes", "tokenizer-words", "tokenizer", "tokenize", "shards"]),
        ("signatures", ["dedup-runs", "dedup"]),
        ("deletions", ["tokenizer-words", "tokenize"]),
        ("work/words", ["tokenizer"]),
        ("tokens", ["shards"]),
    ],
)
def test_a_file_that_rots_is_made_again_or_named(before, tmp_path, table, readers):
    """A file cut short is made again; one with a flipped byte is named with what to do, never read as if good."""
    path, found = before
    out = tmp_path / "out"
    shutil.copytree(found["end"], out)
    victim = sorted((out / table).glob("*.arrow"))[1]
    content = bytearray(victim.read_bytes())
    victim.write_bytes(content[: len(content) // 2])
    assert run_child(path, "run", out)[0] == 0
    assert column_hashes(out) == column_hashes(found["end"])

    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    for reader in readers:
        shutil.rmtree(out / "units" / reader)
    code, _, said = run_child(path, "run", out)
    assert code == 3
    told = re.search(r"(\S+) is not what was committed .*delete (\S+) and repeat the run", said.splitlines()[-1])
    assert told[1] == str(victim)
    Path(told[2]).unlink()
    code, _, said = run_child(path, "run", out)
    assert code == 0, said
    assert column_hashes(out) == column_hashes(found["end"])
