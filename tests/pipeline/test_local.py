"""The local pool: requeue after a death, one line for an error, children that die with their parent."""

import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pipeline.errors import RunFailed
from pipeline.job import Job, run_job, survey
from pipeline.local import LocalEngine
from tests.conftest import ROOT
from tests.pipeline.corpus import write_config, write_corpus
from tests.pipeline.processes import is_alive, servers, start
from tests.pipeline.toy_job import graph, misbehave, noted_graph, unfinished_graph
from transforms.commit import load_records
from transforms.unit import Slice, WorkUnit


def units(*names):
    return [WorkUnit(name, number, "key") for number, name in enumerate(names)]


def run(out, names, workers=2):
    said = []
    with LocalEngine(workers, [], said.append) as engine:
        records = run_job(engine, str(out), Job("toy", graph, str(out)), units(*names), said.append)
    return records, said


def test_all_units_are_committed_and_a_killed_worker_is_replaced(tmp_path):
    """A unit whose worker is killed twice is done by the third; the others are not disturbed."""
    records, said = run(tmp_path, ["a", "die-2", "b", "c"])
    assert [*records] == ["a", "die-2", "b", "c"]
    assert [record.counts["kept"] for record in records.values()] == [1, 1, 1, 1]
    assert sum("trying again" in line for line in said) == 2


def test_a_unit_that_always_kills_its_worker_fails_the_run(tmp_path):
    """Three deaths end the run with a line that names the unit; what was done stays."""
    with pytest.raises(RunFailed, match="toy die-9: its worker died 3 times"):
        run(tmp_path, ["a", "die-9"], workers=1)
    assert set(survey(str(tmp_path), "toy", units("a", "die-9")).committed) == {"a"}


def test_an_error_is_one_line_that_names_its_cause(tmp_path):
    """Beam's traceback is reduced to the line that says what happened."""
    with pytest.raises(RunFailed) as caught:
        run(tmp_path, ["bad"], workers=1)
    assert "No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "while running" not in str(caught.value)


@pytest.mark.parametrize(("options", "times"), [([], 1), (["--direct_runner_bundle_repeat=1"], 2)])
def test_a_worker_runs_a_job_in_one_pipeline(tmp_path, options, times):
    """Its graph is built once, not for each unit; where bundles are repeated, all of its units are."""
    with LocalEngine(1, options, print) as engine:
        for stage in ("toy", "toy"):  # the second job finds the worker idle
            job = Job(stage, noted_graph, str(tmp_path))
            engine.execute(job, units("a", "b", "c"))
    assert (tmp_path / "notes").read_text().split() == ["graph", *["a", "b", "c"] * times] * 2


def test_the_largest_units_are_dealt_first(tmp_path):
    """A stream of hours at the end would be waited for by all workers but one; equal units keep their order."""
    sized = [
        WorkUnit(name, number, "key", (Slice("s", name, number, 0, 0, -1, size, ""),))
        for number, (name, size) in enumerate([("a", 1), ("b", 5), ("c", 1), ("d", 9)])
    ]
    with LocalEngine(1, [], print) as engine:
        engine.execute(Job("toy", noted_graph, str(tmp_path)), sized)
    assert (tmp_path / "notes").read_text().split() == ["graph", "d", "b", "a", "c"]


def test_a_call_goes_to_a_worker_and_raises_what_it_raises_there(tmp_path):
    """A full disk is told apart from other faults, and a death from both; without a worker it is a plain call."""
    job = Job("toy", graph, str(tmp_path))
    with LocalEngine(1, [], print) as engine:
        engine.call(misbehave, "well", str(tmp_path))
        assert (tmp_path / "called").read_text() == str(os.getpid())
        engine.execute(job, units("a"))
        engine.call(misbehave, "well", str(tmp_path))
        assert (tmp_path / "called").read_text() != str(os.getpid())
        with pytest.raises(OSError, match="No space left") as caught:
            engine.call(misbehave, "full", str(tmp_path))
        assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path))
        with pytest.raises(OSError, match="^the bucket is gone$"):
            engine.call(misbehave, "store", str(tmp_path))
        with pytest.raises(RunFailed, match="KeyError: 'bad'"):
            engine.call(misbehave, "bad", str(tmp_path))
        with pytest.raises(RunFailed, match="its worker died"):
            engine.call(misbehave, "die", str(tmp_path))
        engine.execute(job, units("b"))
    assert (tmp_path / "deletions" / "b.arrow").exists()


def test_what_is_found_at_the_end_of_a_job_is_told(tmp_path):
    """A writer that was left with an open unit says so when its bundle ends; no later job does it for this one."""
    with LocalEngine(2, [], print) as engine, pytest.raises(RunFailed, match="toy: .*ended before the last batch"):
        engine.execute(Job("toy", unfinished_graph, str(tmp_path)), units("a", "b", "c"))


def test_a_worker_has_the_memory_that_it_is_given(tmp_path):
    """Four gigabytes are refused where a worker may have less; the line names the unit and the error."""
    job = Job("toy", graph, str(tmp_path))
    with (
        LocalEngine(1, [], print, worker_bytes=1 << 31) as engine,
        pytest.raises(RunFailed, match="large.*MemoryError"),
    ):
        run_job(engine, str(tmp_path), job, units("large"), print)
    assert len(run(tmp_path, ["large"], workers=1)[0]) == 1


def test_what_a_killed_parent_left_is_swept(tmp_path, monkeypatch):
    """Temporary files of a dead parent go when the next begins; those of a living one, and of others, stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import os; from pipeline.local import LocalEngine; LocalEngine(1, [], print); os._exit(9)"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 9
    (tmp_path / "gristmill-of-others").mkdir()
    [killed] = {path.name for path in tmp_path.iterdir()} - {"gristmill-of-others"}
    with LocalEngine(1, [], print):
        first = {path.name for path in tmp_path.iterdir()}
        assert killed not in first
        assert len(first) == 2
        with LocalEngine(1, [], print):
            assert first < {path.name for path in tmp_path.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["gristmill-of-others"]


def test_a_second_call_runs_nothing_and_a_new_key_runs_the_unit_again(tmp_path):
    """Committed units are left out by the driver; a stale one is announced and made again; a dropped one is removed."""
    run(tmp_path, ["a", "b"])
    before = {name: os.stat(tmp_path / "deletions" / f"{name}.arrow").st_mtime_ns for name in "ab"}

    class Forbidden:
        def execute(self, job, units):
            raise AssertionError(f"nothing to do, but {units} were run")

    job = Job("toy", graph, str(tmp_path))
    run_job(Forbidden(), str(tmp_path), job, units("a", "b"), lambda line: None)
    assert before == {name: os.stat(tmp_path / "deletions" / f"{name}.arrow").st_mtime_ns for name in "ab"}

    said = []
    changed = [WorkUnit("a", 0, "other key")]
    with LocalEngine(1, [], said.append) as engine:
        run_job(engine, str(tmp_path), job, changed, said.append)
    assert any("1 of 1 units are stale" in line for line in said)
    assert [*load_records(str(tmp_path), "toy")] == ["a"]
    assert not (tmp_path / "deletions" / "b.arrow").exists()


def test_a_unit_whose_file_vanished_is_made_again(tmp_path):
    """A commit record without its file is no commit."""
    run(tmp_path, ["a", "b"])
    (tmp_path / "deletions" / "a.arrow").unlink()
    assert set(survey(str(tmp_path), "toy", units("a", "b")).committed) == {"b"}
    run(tmp_path, ["a", "b"])
    assert set(survey(str(tmp_path), "toy", units("a", "b")).committed) == {"a", "b"}


def test_the_fork_server_imports_what_workers_need_and_starts_no_thread():
    """A fork copies no thread, and what one holds locked stays locked; only jemalloc's, which knows forks, is there."""
    code = (
        "import sys, pipeline.preload; from pathlib import Path; "
        "print([path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')][1:]); "
        "print(all(name in sys.modules for name in ('pipeline.clean', 'transforms.write', 'apache_beam'))); "
        "print([name for name in pipeline.preload.SPARED if name in sys.modules]); "
        "import logging, pandas, scipy.linalg, pyarrow; print(pyarrow.array([7]).to_pandas()[0], logging.root.handlers)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    threads, preloaded, spared, later = done.stdout.splitlines()
    assert set(ast.literal_eval(threads)) <= {"jemalloc_bg_thd"}
    assert preloaded == "True"
    assert (spared, later) == ("[]", "7 []")  # what it went without is found by whoever asks for it later
    assert done.stderr == ""


def test_the_server_is_started_before_the_parent_imports_what_it_needs(tmp_path):
    """Its imports are the longest way to the first unit."""
    path = write_config(tmp_path, runner={"engine": "local"})
    code = (
        "import sys, pipeline.server; from pipeline.cli import main; "
        "pipeline.server.begin_server = lambda: print('pydantic' in sys.modules, 'pyarrow' in sys.modules); "
        f"print(main(['clean', {str(path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False False", "2"]


def test_a_mistake_that_is_found_meanwhile_ends_the_server(tmp_path):
    """It would hold the pipes of who asked for a second more."""
    path = write_config(tmp_path, sources=[{"name": "none", "format": "jsonl", "path": str(tmp_path / "none.jsonl")}])
    process = start(path, tmp_path / "out")
    seen: set[int] = set()
    while process.poll() is None:
        seen.update(servers(process.pid))
        time.sleep(0.01)
    left = [pid for pid in seen if is_alive(pid)]
    assert (process.returncode, process.stderr.read().count("\n")) == (2, 1)
    assert (len(seen), left) == (1, [])


def test_another_engine_has_no_server(tmp_path):
    """What was started before the configuration was read is ended; a pool that is asked for later starts its own."""
    path = write_config(tmp_path, output=str(tmp_path / "out"))
    write_corpus(tmp_path / "corpus", files=1, per_file=5)
    code = (
        "import os; from pipeline.cli import main; from tests.pipeline.test_local import *\n"
        f"print(main(['clean', {str(path)!r}]), servers(os.getpid()))\n"
        f"run(Path({str(tmp_path)!r}), ['a'])\n"
        "print(len(servers(os.getpid())))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0 []", "1"]


def test_the_parent_of_a_local_run_does_without_beam(tmp_path):
    """Graphs are built where they run, in all stages, and a worker writes the report: a second of processor time."""
    path = write_config(tmp_path, runner={"engine": "local", "workers": 1})
    write_corpus(tmp_path / "corpus", files=1, per_file=40)
    code = (
        "import gc, sys; from pipeline.cli import main; "
        f"sys.argv[1:] = ['run', {str(path)!r}, '--to', 'tokenize']; code = main(); "
        "print(code, sorted({'apache_beam', 'google.cloud', 'jinja2'} & set(sys.modules)), gc.get_threshold()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 [] 50000"  # nor does it collect what it imports


def test_the_fork_server_never_sees_ctrl_c(tmp_path):
    """A terminal sends it to all processes, and the server, busy with imports, would show a traceback of them."""
    path = write_config(tmp_path)
    write_corpus(tmp_path / "corpus", files=1, per_file=5)
    process = start(path, tmp_path / "out", "--to", "clean")
    deadline = time.monotonic() + 60
    while not servers(process.pid):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
    (server,) = servers(process.pid)
    (blocked,) = re.findall(r"SigBlk:\s*([0-9a-f]+)", Path(f"/proc/{server}/status").read_text())
    assert int(blocked, 16) >> (signal.SIGINT - 1) & 1
    assert process.wait(timeout=120) == 0


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("unit", ["slow", "deaf"])
def test_children_die_with_the_parent(tmp_path, stop, unit):
    """No worker outlives a parent that was killed or interrupted, not even one that holds the interpreter's lock."""
    script = (
        "from tests.pipeline.test_local import run\n"
        "from pathlib import Path\n"
        f"if __name__ == '__main__': run(Path({str(tmp_path)!r}), ['{unit}-0', '{unit}-1'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=environment, stderr=subprocess.DEVNULL)
    marks = tmp_path / "marks"
    deadline = time.monotonic() + 60
    while len(list(marks.glob(f"{unit}-*"))) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        assert parent.poll() is None
        time.sleep(0.05)
    children = [int(path.suffix[1:]) for path in marks.glob(f"{unit}-*")]
    parent.send_signal(stop)
    parent.wait(timeout=30)
    while any(is_alive(pid) for pid in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
