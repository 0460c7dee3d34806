"""The training run as its users see it: a command that can be killed and repeated."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.pretrain import disk
from pipeline.pretrain.__main__ import main
from pipeline.pretrain.log import read_log
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.train import train
from pipeline.pretrain.watch import TrainingStoppedError
from tests.pretrain.shards import make_pairs, make_rows, write_pairs, write_split

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "model": "modernbert-demo", "layers": 2, "width": 32, "heads": 2, "steps": 24, "batch_rows": 8, "micro_rows": 4,
    "optimizer": "muon", "lr": 0.01, "checkpoint_every": 4, "eval_every": 8, "validation_rows": 7, "threads": 1,
}  # fmt: skip


def _train(out, stop=lambda: False, **changed):
    lines = []
    summary = train(Settings(**{**SETTINGS, **changed}), out, say=lines.append, stop=stop)
    return summary, lines


def _command(out, **changed):
    (out / "settings.json").write_text(json.dumps({**SETTINGS, **changed}))
    return [sys.executable, "-m", "pipeline.pretrain", str(out / "settings.json"), str(out)]


def _run(out, **changed):
    return subprocess.run(_command(out, **changed), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def _curve(out):
    """The log without what the clock wrote."""
    return [
        {key: value for key, value in line.items() if "second" not in key and key != "read_share"}
        for line in read_log(out / "pretrain" / "log.jsonl")
    ]


def _same_result(first, second):
    """Weights, optimizer state and log are equal bit by bit."""
    assert _curve(first) == _curve(second)
    for name in ("checkpoints/step-00000024/state.safetensors", "model/model.safetensors"):
        ours, theirs = load_file(first / name), load_file(second / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    skipped = ("seconds", "tokens_per_second")
    summaries = [json.loads((out / "pretrain" / "summary.json").read_text()) for out in (first, second)]
    assert len({json.dumps({k: v for k, v in s.items() if k not in skipped}) for s in summaries}) == 1


@pytest.fixture
def twin(out, tmp_path_factory):
    """A second directory with the same shards and tokenizer."""
    other = tmp_path_factory.mktemp("twin")
    for name in ("shards", "tokenizer"):
        (other / name).symlink_to(out / name)
    return other


def test_run_to_the_end(out):
    """A run leaves checkpoints, a log line a step, validations, a model and a summary."""
    summary, lines = _train(out, steps=40)
    assert summary["steps"] == 40
    assert summary["validation_loss"] < summary["first_loss"]
    assert 0 <= summary["validation_accuracy"] < 1
    assert summary["unigram_entropy"] == pytest.approx(3.5, abs=0.3)  # 36 words, nearly evenly used
    assert len(summary["fill_mask"]) == 3
    assert all(len(example["predictions"]) == 5 for example in summary["fill_mask"])
    log = _curve(out)
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 41))
    assert [line["step"] for line in log if "validation_loss" in line] == [8, 16, 24, 32, 40]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000036", "step-00000040"]
    assert "step 40/40" in lines[-1]


def test_learns_what_can_be_known(out):
    """Where each word determines the next, masked words are predicted from their neighbours; chance is 3%."""
    for split in ("train", "validation"):
        for path in (out / "shards" / split).iterdir():
            path.unlink()
        write_split(out / "shards" / split, make_rows(40, 1, noise=0.0), num_files=1)
    summary, _ = _train(
        out, width=64, steps=300, mask_rate=0.15, checkpoint_every=300, eval_every=300, validation_rows=40
    )
    assert summary["first_loss"] > 3.5
    assert summary["validation_accuracy"] > 0.6
    assert summary["validation_loss"] < summary["unigram_entropy"] - 2


def test_next_sentence_run(out):
    """Pairs train both losses and labels that follow a rule are learned; packed rows are refused."""
    nsp = {"model": "bert-tiny", "objective": "mlm+nsp", "width": 64, "lr": 0.005, "eval_every": 100}
    with pytest.raises(ValueError, match="needs sentence pairs"):
        _train(out, **nsp)
    shutil.rmtree(out / "shards")
    for split, count in (("train", 600), ("validation", 100)):
        write_pairs(out / "shards" / split, make_pairs(count, count))
    summary, _ = _train(out, **nsp, steps=150, batch_rows=32, micro_rows=32, mask_rate=0.15, validation_rows=100)
    log = _curve(out)
    assert log[0]["loss"] == pytest.approx(log[0]["token_loss"] + log[0]["next_loss"])
    assert log[0]["next_loss"] == pytest.approx(math.log(2), abs=0.3)
    assert summary["next_sentence_accuracy"] > 0.8
    assert "bert.pooler.dense.weight" in load_file(out / "model" / "model.safetensors")


def test_growing_batch_resumes_bit_equal(out, twin):
    """Batch-size warm-up takes the same rows after a stop in the middle of it."""
    growing = {"batch_rows": 32, "batch_warmup": 0.5}
    _train(out, **growing)
    asked = iter([False] * 4 + [True])
    with pytest.raises(TrainingStoppedError):
        _train(twin, stop=lambda: next(asked), **growing)
    _train(twin, **growing)
    _same_result(out, twin)
    tokens = [line["tokens"] for line in _curve(out) if "loss" in line]
    assert tokens[0] < (tokens[-1] - tokens[-2]) / 4


def test_growing_batch_visits_each_row_once(out, monkeypatch):
    """While the batch grows no row is left out or taken twice before the epoch is over."""
    from pipeline.pretrain import train as module

    taken = []
    real = module.read_microbatch

    def noted(rows, rows_B, **kwargs):
        if len(rows) == 40:
            taken.extend(rows_B.tolist())
        return real(rows, rows_B, **kwargs)

    monkeypatch.setattr(module, "read_microbatch", noted)
    _train(out, batch_rows=32, batch_warmup=1.0, steps=7)
    assert sorted(taken[:40]) == sorted(taken[40:80]) == list(range(40))


def _torchrun(out, processes, **changed):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*command, *_command(out, **changed)[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_two_processes_equal_one(out, twin):
    """Two gloo processes with a microbatch each, stopped and resumed, are bit-equal to one process with two."""
    three_looks = {"validation_rows": 12}
    _train(out, **three_looks)
    asked = iter([False] * 9 + [True])
    with pytest.raises(TrainingStoppedError):
        _train(twin, stop=lambda: next(asked), **three_looks)
    result = _torchrun(twin, 2, **three_looks)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stderr.count("2 x cpu") == 1, "only the first rank speaks"
    _same_result(out, twin)


def test_sharded_weights(out, twin):
    """Two processes that share the weights learn what one learns that has them all; one goes on from theirs."""
    plain = {"model": "bert-tiny", "optimizer": "adamw"}
    _train(out, **plain)
    asked = iter([False] * 9 + [True])
    with pytest.raises(TrainingStoppedError):
        _train(twin, stop=lambda: next(asked), **plain)
    result = _torchrun(twin, 2, **plain, shard=True, validation_rows=12)
    assert result.returncode == 0, result.stderr[-3000:]
    for one, other in zip(_curve(out), _curve(twin), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
            assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)
    name = "checkpoints/step-00000024/state.safetensors"
    whole, gathered = load_file(out / name), load_file(twin / name)
    assert {key: value.shape for key, value in whole.items()} == {key: value.shape for key, value in gathered.items()}
    for key, value in whole.items():
        assert torch.allclose(value, gathered[key], rtol=1e-2, atol=1e-4), key
    assert (twin / "model" / "model.safetensors").exists()
    (twin / "pretrain" / "summary.json").unlink()
    assert _train(twin, **plain)[0]["steps"] == 24


def test_finished_run_is_left_alone(out):
    """The same settings again do nothing; settings that only watch count as the same."""
    first, _ = _train(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again, lines = _train(out, keep=3)
    assert again == first
    assert lines[0].startswith("already trained: 24 steps")
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    (out / "pretrain" / "summary.json").write_text("")  # damaged: what it said is found out again
    assert _train(out)[0]["validation_loss"] == first["validation_loss"]
    assert json.loads((out / "pretrain" / "summary.json").read_text())["steps"] == 24


def test_other_settings_or_shards_are_refused(out):
    """A checkpoint of other settings, or of other rows, is not continued; the message says what differs."""
    _train(out)
    with pytest.raises(ValueError, match=r"made with lr 0\.01, now 0\.02"):
        _train(out, lr=0.02)
    write_split(out / "shards" / "train", make_rows(40, 9))
    with pytest.raises(ValueError, match="made with other shards"):
        _train(out)


def test_microbatches_change_only_rounding(out, twin):
    """Two microbatches of four rows and one of eight give the same losses within 1e-5."""
    _train(out, steps=6)
    _train(twin, steps=6, micro_rows=8)
    for one, other in zip(_curve(out), _curve(twin), strict=True):
        assert one.keys() == other.keys()
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
            assert one["tokens"] == other["tokens"]


def test_resumed_with_another_microbatch(out, twin):
    """A run may go on where fewer rows fit: only rounding changes, and that is said."""
    _train(out, micro_rows=8)
    asked = iter([False] * 9 + [True])
    with pytest.raises(TrainingStoppedError):
        _train(twin, micro_rows=8, stop=lambda: next(asked))
    summary, lines = _train(twin, micro_rows=2)
    assert "resumed with micro_rows 2 (was 8): the last bits" in lines[0]
    for one, other in zip(_curve(out), _curve(twin), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
    assert _train(twin, micro_rows=4)[0] == summary


def test_stop_and_go_is_bit_equal(out, twin):
    """Stopping on demand at odd steps and going on equals an undisturbed run."""
    _train(out)
    for stop_after in (3, 5, 9):
        left = [stop_after]

        def stop(left=left):
            left[0] -= 1
            return left[0] == 0

        with pytest.raises(TrainingStoppedError, match="the same command resumes"):
            _train(twin, stop=stop)
    _train(twin)
    _same_result(out, twin)


def _wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_run_resumes_bit_equal(out, twin):
    """SIGKILL after the first and after a later checkpoint, one of them damaged, then the same command: bit-equal."""
    _train(out)
    for number, step in enumerate((4, 12)):
        with subprocess.Popen(_command(twin), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            _wait_for(lambda step=step: (twin / "checkpoints" / f"step-{step:08d}").exists(), process)
            process.send_signal(signal.SIGKILL)
        assert not (twin / "pretrain" / "summary.json").exists(), "killed too late to show anything"
        if number == 1:
            newest = max((twin / "checkpoints").glob("step-*"))
            os.truncate(newest / "state.safetensors", 100)
    result = _run(twin)
    assert result.returncode == 0, result.stderr
    assert "damaged checkpoint refused" in result.stderr
    _same_result(out, twin)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"modle": "x"}, "pretrain.modle: unknown key, did you mean model?"),
        ({"seed": 1}, "checkpoints/step-00000024: made with seed 0, now 1: "),
        ({"prompts": ["kada " * 40 + "[MASK]"]}, "has 43 tokens with 1 masks, at most 32 with one are possible"),
        ({"batch_rows": 7, "micro_rows": 3}, "pretrain.batch_rows: 7 is not a multiple of micro_rows 3"),
    ],
)
def test_mistakes_exit_with_two(out, capsys, values, line):
    """A mistake exits 2 with one line, whether the settings, the shards or the checkpoint show it."""
    _train(out)
    (out / "pretrain" / "summary.json").unlink()
    assert main(_command(out, **values)[3:]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert main([str(out / "none.json"), str(out)]) == 2
    assert main([]) == 2


def test_a_full_gpu_is_told(out, monkeypatch, capsys):
    """A GPU without room ends the run with one line that names the setting, as a mistake does."""

    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more lines")

    monkeypatch.setattr("pipeline.pretrain.__main__.train", full)
    assert main(_command(out)[3:]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pretrain.micro_rows: ")
    assert error.count("\n") == 1


def test_terminated_run_can_be_resumed(out):
    """SIGTERM exits 3 and leaves a checkpoint."""
    long = {"steps": 100_000, "checkpoint_every": 100_000}
    with subprocess.Popen(_command(out, **long), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        _wait_for((out / "pretrain" / "log.jsonl").exists, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3
        assert "the same command resumes there" in process.stderr.read()
    assert len(list((out / "checkpoints").glob("step-*"))) == 1


def test_non_finite_loss_stops(out, monkeypatch):
    """A loss that is not a number stops the run, names the step, and leaves the last good checkpoint in place."""
    from pipeline.pretrain import train as module

    calls = [0]
    real = module.take_step

    def poisoned(*args, **kwargs):
        calls[0] += 1
        taken = real(*args, **kwargs)
        return taken if calls[0] < 10 else taken._replace(losses_2=taken.losses_2 * float("nan"))

    monkeypatch.setattr(module, "take_step", poisoned)
    with pytest.raises(TrainingStoppedError, match=r"step 10: loss nan.*last good checkpoint: step-00000008"):
        _train(out)
    monkeypatch.undo()
    assert _train(out)[0]["steps"] == 24


def test_killed_between_the_model_and_the_summary(out, twin, monkeypatch):
    """The same command writes what was missing, and the log has no line twice."""
    from pipeline.pretrain import train as module

    def killed(*args):
        raise KeyboardInterrupt

    _train(out)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_summary", killed)
        with pytest.raises(KeyboardInterrupt):
            _train(twin)
    _train(twin)
    _same_result(out, twin)


def test_a_deleted_log_is_no_end(out, capsys):
    """A user who deletes `pretrain/` beside the checkpoints gets a summary; what only the log knew is null."""
    _train(out)
    shutil.rmtree(out / "pretrain")
    assert main(_command(out)[3:]) == 0
    summary = json.loads((out / "pretrain" / "summary.json").read_text())
    assert summary["first_loss"] is summary["last_loss"] is None
    assert summary["validation_loss"] > 0
    assert "validation loss" in capsys.readouterr().err


def test_full_disk_stops_with_one_line(out, capsys, no_room):
    """A checkpoint or a model that finds no room: exit code 3 and the file, and with room the same command goes on."""
    with no_room(40_000):
        assert main(_command(out)[3:]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert "step-00000004" in lines[-1]
    assert "could not be written" in lines[-1]
    assert main(_command(out)[3:]) == 0


def test_two_trainers_on_one_output(out, capsys, monkeypatch):
    """The second is refused in one line; a directory that does not exist is told as before and not made."""
    monkeypatch.setattr(disk, "_TRIES", 2)
    monkeypatch.setattr(disk, "_WAIT_S", 0.0)
    with disk.held(out):
        assert main(_command(out)[3:]) == 2
    assert capsys.readouterr().err == f"another trainer is at work on {out}; wait for it, or stop it\n"
    assert not (out / "pretrain").exists()
    assert main(_command(out, steps=2)[3:]) == 0
    assert main([str(out / "settings.json"), str(out / "none")]) == 2
    assert not (out / "none").exists()


def test_no_validation_rows(out):
    """A corpus too small for validation rows still trains; what cannot be measured is null."""
    for path in (out / "shards" / "validation").iterdir():
        path.unlink()
    write_split(out / "shards" / "validation", [], num_files=1)
    summary, _ = _train(out, steps=2, prompts=("kada [MASK] lofe",))
    assert summary["validation_loss"] is None
    assert summary["unigram_entropy"] is None
    assert summary["fill_mask"][0]["text"] == "kada [MASK] lofe"


def test_imports_nothing_heavy():
    """Importing the trainer loads no Beam, no datasets, no pydantic, no transformers and no wandb."""
    code = (
        "import sys, pipeline.pretrain.train, pipeline.pretrain.__main__\n"
        "heavy = {'apache_beam', 'datasets', 'pydantic', 'transformers', 'wandb', 'numba', 'pandas'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_deterministic_kernels_on_demand(out, monkeypatch):
    """The setting reaches torch before the model is built, and only if it is set."""
    asked = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *given, **named: asked.append((given, named)))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    _train(out, steps=2)
    assert asked == []
    shutil.rmtree(out / "checkpoints")
    _train(out, steps=2, deterministic=True)
    assert asked == [((True,), {"warn_only": True})]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
