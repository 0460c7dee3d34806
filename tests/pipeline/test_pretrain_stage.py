"""The trainer as a stage: left alone when done, begun again when its input changes, gone with its parent."""

import json
import signal
import time
import types

import pytest

from pipeline import pretrain_stage
from pipeline.cli import main
from pipeline.errors import RunFailed
from pipeline.pretrain.display import RELAYED
from tests.pipeline.corpus import write_config, write_corpus
from tests.pipeline.processes import children, is_alive, start

TINY = {"model": "modernbert-demo", "width": 32, "steps": 30, "batch_rows": 4, "checkpoint_every": 5, "eval_every": 30}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pretrain")
    write_corpus(directory / "corpus", files=2, per_file=40)
    return directory


def summary(out):
    return json.loads((out / "pretrain" / "summary.json").read_text())


def test_a_run_ends_with_a_model_and_is_left_alone_afterwards(directory, tmp_path, capfd):
    """Summary on the terminal and in run.json; a second run does nothing; other settings train anew, aside."""
    out = tmp_path / "out"
    path = str(write_config(directory, output=str(out), pretrain=TINY))
    assert main(["run", path]) == 0
    shown, told = capfd.readouterr()
    assert "step 30/30" in told
    assert RELAYED not in told
    assert "unigram entropy" in shown
    assert shown.count("->") >= 4  # losses and three examples
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {file.name for file in (out / "model").iterdir()}
    stage = json.loads((out / "run.json").read_text())["stages"]["pretrain"]
    assert stage["summary"] == summary(out)
    page = (out / "report" / "index.html").read_text()
    assert "<polyline" in page

    assert main(["run", path]) == 0
    assert "nothing to do" in capfd.readouterr().out
    next((out / "shards" / "train").glob("*.arrow")).unlink()
    assert main(["run", path]) == 0  # made again as it was, so the model is the one that belongs to it
    assert "unigram entropy" in capfd.readouterr().out
    assert json.loads((out / "run.json").read_text())["stages"]["pretrain"] == stage
    weights = (out / "model" / "model.safetensors").read_bytes()
    before = sorted(out.rglob("*"))
    whole = "pretrain.width=null"
    for wrong, words in (
        (["pretrain.heads=5"], "5 heads do not divide"),
        ([f"pretrain.init_from={out}", whole], "no config.json"),
        ([f"pretrain.init_from={out / 'model'}", whole], "own model"),
        ([f"pretrain.init_from={out / 'checkpoints' / 'step-00000030'}", whole], "own model"),
    ):
        assert main(["run", path, *(word for change in wrong for word in ("--set", change))]) == 2
        assert words in capfd.readouterr().err
    assert [file for file in before if not file.exists()] == []
    assert not (out / "superseded").exists()
    shorter = ["pretrain.steps=10", "pretrain.shards=shards-32", "tokenize.seq_length=[64, 32]"]
    assert main(["run", path, *(word for change in shorter for word in ("--set", change))]) == 0
    assert summary(out)["steps"] == 10
    assert json.loads((out / "model" / "config.json").read_text())["max_position_embeddings"] == 32
    assert "what was trained before lies in" in capfd.readouterr().err
    assert main(["run", path]) == 0
    assert summary(out)["steps"] == 30
    assert (out / "model" / "model.safetensors").read_bytes() == weights
    state = out / "units" / "pretrain" / "state.json"
    stored = json.loads(state.read_text())
    state.write_text(json.dumps({"key": stored["key"], "done": True}))  # as a version before this one stored it
    assert main(["run", path]) == 0
    assert json.loads(state.read_text())["entry"]["summary"] == stored["entry"]["summary"] == summary(out)
    assert (out / "model" / "model.safetensors").read_bytes() == weights


def test_a_killed_run_takes_the_trainer_along_and_resumes(directory, tmp_path):
    """SIGKILL of the parent leaves no trainer behind; the same command ends with the weights of an undisturbed run."""
    path, out = write_config(directory, pretrain={**TINY, "steps": 120}), tmp_path / "out"
    process = start(path, out)
    deadline = time.monotonic() + 120
    while not list((out / "checkpoints").glob("*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    trainers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(is_alive(pid) for pid in trainers):
        assert time.monotonic() < deadline, "the trainer outlived the run"
        time.sleep(0.01)
    assert not (out / "model").exists()
    for target in (out, tmp_path / "undisturbed"):
        process = start(path, target)
        assert process.wait(timeout=120) == 0, process.stderr.read()
    weights = [(target / "model" / "model.safetensors").read_bytes() for target in (out, tmp_path / "undisturbed")]
    assert weights[0] == weights[1]


def test_a_terminated_run_keeps_what_is_trained(directory, tmp_path):
    """SIGTERM, which batch systems send, ends a run as Ctrl-C does: the trainer has the time to leave a checkpoint."""
    long = {**TINY, "steps": 100_000, "checkpoint_every": 100_000}
    path, out = write_config(directory, pretrain=long), tmp_path / "out"
    process = start(path, out)
    deadline = time.monotonic() + 120
    while not (out / "pretrain" / "log.jsonl").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    while process.poll() is None:  # again and again, as `timeout` sends it twice
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert process.returncode == 3
    assert process.stderr.read().splitlines()[-1] == "gristmill: stopped. The same command resumes."
    assert len(list((out / "checkpoints").glob("step-*"))) == 1


def test_a_mistake_of_the_settings_is_one_line(directory, tmp_path, capsys):
    """Refused before any stage runs."""
    path = str(write_config(directory, output=str(tmp_path / "out"), pretrain={**TINY, "optimizer": "adm"}))
    assert main(["run", path]) == 2
    complaint = capsys.readouterr().err
    assert "'adm' is not one of adamw, stableadamw, muon" in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ending", "words"),
    [("os.kill(os.getpid(), 9)", "killed from outside"), ("sys.exit(3)", "ended with code 3: stopped at 3")],
)
def test_the_end_of_the_trainer_is_told(tmp_path, monkeypatch, ending, words):
    """What it said last, not its line of progress; and that it was killed, which it cannot say itself."""
    notes = []
    progress = types.SimpleNamespace(note=notes.append, say=lambda line: None)
    said = f"stopped at 3\\n{RELAYED}[##..] step 3/9\\n"
    monkeypatch.setattr(
        pretrain_stage, "_TRAINER", f"import os, sys; sys.stderr.write('{said}'); sys.stderr.flush(); {ending}"
    )
    with pytest.raises(RunFailed, match=words) as caught:
        pretrain_stage._train(tmp_path / "settings.json", tmp_path, progress)
    assert notes == ["[##..] step 3/9"]
    assert RELAYED not in str(caught.value)
