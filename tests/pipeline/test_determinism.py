"""The same bytes out for any number of workers, any runner, repeated bundles, and after any crash."""

import json
import os
import random
import shutil
import signal

import pytest

from tests.pipeline.corpus import column_hashes, counts, run_stages, write_config, write_corpus
from tests.pipeline.processes import num_commits, start, wait_for_commits, workers

TABLES = {
    "clean": {"documents", "signatures", "rejected"},
    "dedup": {"clusters", "deletions", "rejected"},
    "tokenizer": {"tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "tokenizer/special_tokens_map.json"},
    "tokenize": {"tokens"},
    "shards": {"shards/train", "shards/validation"},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """An undisturbed run in one process: its directory, hashes and counts."""
    directory = tmp_path_factory.mktemp("undisturbed")
    write_corpus(directory / "corpus")
    run_stages(write_config(directory))
    return directory, column_hashes(directory / "out"), counts(directory / "out")


def fresh(undisturbed, tmp_path):
    """Return a configuration over the same files with another output."""
    return write_config(undisturbed[0], output=str(tmp_path / "out"))


def assert_equal_to(undisturbed, out):
    assert column_hashes(out) == undisturbed[1]
    assert counts(out) == undisturbed[2]


def test_the_comparison_covers_every_table(undisturbed):
    """Hashes exist for all tables, and the corpus has something in each of them."""
    _, hashes, found = undisturbed
    assert {stage: set(tables) for stage, tables in hashes.items()} | {"tokenizer": TABLES["tokenizer"]} == TABLES
    assert found["clean"]["kept"] == 240
    assert found["dedup"]["rejected"]["exact"] >= 100
    assert found["dedup"]["rejected"]["minhash"] >= 4
    assert found["shards"]["train"]["tokens"] > found["shards"]["validation"]["tokens"] > 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers(undisturbed, tmp_path, workers):
    """The local pool gives the same hashes for 1, 2 and 4 workers."""
    path = fresh(undisturbed, tmp_path)
    run_stages(path, overrides=["runner.engine=local", f"runner.workers={workers}"])
    assert_equal_to(undisturbed, tmp_path / "out")


@pytest.mark.parametrize(
    ("engine", "options"),
    [("FnApiRunner", ["--direct_runner_bundle_repeat=1"]), ("BundleBasedDirectRunner", [])],
    ids=["repeated-bundles", "unfused-runner"],
)
def test_runners(undisturbed, tmp_path, engine, options):
    """Bundles that run twice, and another runner that fuses nothing, change nothing."""
    run_stages(fresh(undisturbed, tmp_path), overrides=[f"runner.engine={engine}"], options=options)
    assert_equal_to(undisturbed, tmp_path / "out")


def test_sigkill_of_the_run_at_five_moments(undisturbed, tmp_path):
    """Kill parent and so the workers after a seeded number of commits, five times over; the last run ends it."""
    path, out = fresh(undisturbed, tmp_path), tmp_path / "out"
    total = num_commits(undisturbed[0] / "out")
    moments = sorted(random.Random(2).sample(range(total - 1), 5))
    killed = 0
    for moment in moments:
        process = start(path, out)
        wait_for_commits(process, out, moment)
        process.kill()
        process.wait()
        killed += process.returncode == -signal.SIGKILL
    assert killed == 5
    assert num_commits(out) < total
    process = start(path, out)
    assert process.wait(timeout=120) == 0, process.stderr.read()
    assert_equal_to(undisturbed, out)
    assert not list(out.rglob(".*.private"))


def test_interrupt_is_exit_code_3_and_resumes(undisturbed, tmp_path):
    """Ctrl-C ends the run with one line; the same command ends the work."""
    path, out = fresh(undisturbed, tmp_path), tmp_path / "out"
    process = start(path, out)
    wait_for_commits(process, out, 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 3
    assert process.stderr.read().splitlines()[-1] == "gristmill: stopped. The same command resumes."
    process = start(path, out)
    assert process.wait(timeout=120) == 0, process.stderr.read()
    assert_equal_to(undisturbed, out)


def test_sigkill_of_one_worker(undisturbed, tmp_path):
    """A worker that dies neither hangs the run nor changes a hash."""
    path, out = fresh(undisturbed, tmp_path), tmp_path / "out"
    process = start(path, out)
    wait_for_commits(process, out, 2)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    assert process.wait(timeout=120) == 0, process.stderr.read()
    assert_equal_to(undisturbed, out)


def test_running_twice_does_nothing(undisturbed, tmp_path):
    """The second run writes no file at all."""
    out = tmp_path / "out"
    path = fresh(undisturbed, tmp_path)
    run_stages(path)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    run_stages(path)
    assert before == {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}


def test_a_removed_file_and_a_changed_key_make_again_what_depends_on_them(undisturbed, tmp_path):
    """A lost table is made again to equal hashes; another threshold leaves clean alone and is announced."""
    out = tmp_path / "out"
    path = fresh(undisturbed, tmp_path)
    run_stages(path)
    for table in ("documents", "deletions", "tokens", "shards/train"):
        next(iter(sorted((out / table).glob("*.arrow")))).unlink()
    run_stages(path)
    assert_equal_to(undisturbed, out)

    documents = {file: file.stat().st_mtime_ns for file in (out / "documents").iterdir()}
    _, said = run_stages(path, overrides=["dedup.minhash=null"])
    assert any(line.startswith("dedup") and "stale" in line for line in said)
    assert "minhash" not in counts(out)["dedup"]["rejected"]
    run_stages(path)
    assert_equal_to(undisturbed, out)
    assert set(documents) == set((out / "documents").iterdir())


def test_new_files_are_added_and_old_units_left_alone(undisturbed, tmp_path):
    """A pattern that matches more appends units; documents keep their ids and files."""
    shutil.copytree(undisturbed[0] / "corpus", tmp_path / "corpus")
    path = write_config(tmp_path)
    run_stages(path)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "documents").iterdir()}
    (tmp_path / "corpus" / "aaa.jsonl").write_text('{"text": "A new document of eight words or so here."}\n')
    run_stages(path)
    after = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "documents").iterdir()}
    assert before.items() < after.items()
    assert counts(tmp_path / "out")["clean"]["input"] == 241
    plan = json.loads((tmp_path / "out" / "run.json").read_text())["plan"]
    assert plan["units"][-1]["slices"][0][1].endswith("aaa.jsonl")
