"""transforms.kernels.machine_code: where machine code is kept, for how long, and who makes it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.kernels import machine_code
from transforms.kernels.machine_code import open_cache

ROOT = Path(__file__).resolve().parents[3]

DAY = 86_400


def test_old_machine_code_is_deleted_when_a_new_state_comes(tmp_path):
    """What was begun with in the last month stays, and so does what is no machine code of ours."""
    now = 1_000 * DAY
    for name, used in {"kernels-a": now - 31 * DAY, "kernels-b": now - 29 * DAY, "numba": 0, "kernels-c": 0}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.nbc").write_bytes(b"")
        os.utime(tmp_path / name, (used, used))
    assert open_cache(tmp_path / "kernels-c", now)  # of this state: from now on it is in use
    assert {path.name for path in tmp_path.iterdir()} == {"kernels-a", "kernels-b", "kernels-c", "numba"}
    open_cache(tmp_path / "kernels-d", now)
    assert {path.name for path in tmp_path.iterdir()} == {"kernels-b", "kernels-c", "kernels-d", "numba"}
    assert not open_cache(tmp_path / "numba" / "code.nbc" / "kernels-e", now)  # a place that cannot be


def test_an_installation_that_cannot_be_written_keeps_its_code_with_the_user(tmp_path, monkeypatch):
    """In a directory for each state of the kernels, too: numba's own choice would run old code after an update."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(machine_code.os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(machine_code._cache_directory()).parent == tmp_path / "gristmill"
    monkeypatch.undo()
    assert Path(machine_code._cache_directory()).name == Path(machine_code.CACHE_DIRECTORY).name


# Calls a kernel for the types named, prints how often it was compiled and what it wrote. With "stop" it begins to
# compile, says so and stays there.
CODE = """
import sys
import numpy as np
from numba.core import event
from transforms.kernels.packing import permutation

compiled = []

class Listener(event.Listener):
    def on_start(self, what):
        if what.data["dispatcher"] is permutation:
            compiled.append(what.data["args"])
            if sys.argv[1] == "stop":
                print("compiling", flush=True)
                sys.stdin.read()
    def on_end(self, what):
        pass

with event.install_listener("numba:compile", Listener()):
    numbers = []
    for name in sys.argv[2:]:
        numbers.append(np.zeros(5, name))
        permutation(np.uint64(1), numbers[-1])
print(len(compiled), *(int("".join(map(str, found))) for found in numbers))
"""


def begin(cache, *arguments):
    """Start the code above over a cache of its own."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def numbers(process):
    """Return what such a process printed."""
    printed, _ = process.communicate()
    assert process.returncode == 0
    return [int(number) for number in printed.split()]


def test_a_kernel_is_compiled_by_one_process_for_all(tmp_path):
    """Each type once, whoever comes first; every process runs the code for its type, and a later one compiles none."""
    orders = [("int32", "int64"), ("int64", "int32"), ("int32", "int64")]
    found = [numbers(process) for process in [begin(tmp_path, "go", *order) for order in orders]]
    assert sum(compiled for compiled, *_ in found) == 2
    assert len({number for _, *written in found for number in written}) == 1
    assert numbers(begin(tmp_path, "go", "int64", "int32")) == [0, *found[0][1:]]


def test_one_that_is_killed_while_it_compiles_leaves_no_lock_and_no_code(tmp_path):
    """Another process, which waits for it, compiles the kernel itself."""
    killed = begin(tmp_path, "stop", "int32")
    assert killed.stdout.readline() == "compiling\n"
    waiting = begin(tmp_path, "go", "int32")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    compiled, _ = numbers(waiting)
    assert compiled == 1
    assert [path.name for path in tmp_path.rglob("*.tmp.*")] == []
    assert numbers(begin(tmp_path, "go", "int32"))[0] == 0


def test_a_cache_that_cannot_be_written_has_no_lock(tmp_path):
    """As in an image that another user runs: the kernel is compiled and not kept."""
    assert machine_code.locked(tmp_path / "absent" / "kernel.lock") is None
    held = machine_code.locked(tmp_path / "kernel.lock")
    assert held is not None
    held.close()


def test_only_a_cache_that_can_be_filled_is_cold(tmp_path, monkeypatch):
    """Else every command would begin with compiling what nobody can keep."""
    monkeypatch.setattr(machine_code, "CACHE_DIRECTORY", str(tmp_path))
    assert machine_code.is_cold("some")
    machine_code.note_filled("some")
    assert not machine_code.is_cold("some")
    assert machine_code.is_cold("others")
    machine_code.note_filled(machine_code.ALL)
    assert not machine_code.is_cold("others")
    monkeypatch.setattr(machine_code, "CACHE_DIRECTORY", str(tmp_path / "absent"))
    machine_code.note_filled("some")  # nothing is raised
    monkeypatch.setattr(machine_code, "MAY_KEEP", False)
    assert not machine_code.is_cold("some")


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"NUMBA_CACHE_DIR": "/proc/nowhere"}, "0 NullCache"),  # numba's own way out forgets the files of parts
        ({"NUMBA_DISABLE_JIT": "1"}, "0 None"),
    ],
    ids=["no place for it", "not compiled"],
)
def test_a_kernel_runs_without_machine_code_on_disk(environment, printed):
    """Where nothing can be kept, and in a debugger."""
    code = "from transforms.kernels.jit import ready; print(ready(), type(getattr(ready, '_cache', None)).__name__)"
    given = {**os.environ, **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, env=given, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip().replace("NoneType", "None"), done.stderr) == (printed, "")
