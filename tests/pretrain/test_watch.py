"""Watching a run: what is measured, the line of progress, and the tracker that is imported only when asked for."""

import sys
import types
from pathlib import Path

import pytest
import torch

from pipeline.pretrain import watch as module
from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.flops import Work, training_flops
from pipeline.pretrain.log import Log, read_log
from pipeline.pretrain.settings import Settings
from pipeline.pretrain.step import Step
from pipeline.pretrain.tracker import Tracker
from pipeline.pretrain.train import train
from pipeline.pretrain.watch import Watch
from pipeline.pretrain.world import World

ARCHITECTURE = architecture_of("bert-tiny", vocab_size=100, positions=64, pad_id=0)
WORK = Work(predictions=300.0, tokens=2000.0, full_pairs=90_000.0, local_pairs=90_000.0)
STEP = Step(torch.tensor([2.5, 0.0]), torch.tensor(1.0), torch.tensor(WORK, dtype=torch.float64))


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [50.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def _watch(log, progress, **changed):
    given = {"first_step": 0, "tokens": 0, "seconds": 0.0, "settings": Settings(steps=8, batch_rows=8)}
    world = World(0, 2, torch.device("cpu"))
    return Watch(log, progress, architecture=ARCHITECTURE, world=world, **{**given, **changed})


def test_rates_between_two_readings(tmp_path, clock, monkeypatch):
    """Tokens, operations a process by both peaks, and the share of reading are those since the reading before."""
    monkeypatch.setattr(module, "peaks_of", lambda device: (989e12, 790e12))
    log = Log(tmp_path / "log.jsonl", last_step=0, steps=8)
    watch = _watch(log, lambda line: None)
    for done, seconds in ((1, 4.0), (2, 6.0)):
        clock[0] += seconds
        watch.add(done, 1e-3, STEP, 0.5)
        if done == 1:
            watch.read(lambda: "none")
    watch.add(3, 1e-3, STEP, 0.25)
    watch.read(lambda: "none")
    log.close()
    first, second, third = read_log(tmp_path / "log.jsonl")
    assert (first["tokens_per_second"], first["read_share"]) == (500.0, 0.125)
    assert "tokens_per_second" not in second
    assert (third["tokens_per_second"], third["read_share"]) == (round(4000 / 6, 1), 0.125)
    rate = 2 * training_flops(ARCHITECTURE, WORK) / 6.0 / 2
    assert third["mfu"] == round(rate / 989e12, 4)
    assert third["mfu_measured"] == round(rate / 790e12, 4)
    assert third["tokens"] == 6000


def test_validation_is_no_slow_training(tmp_path, clock):
    """The rates after a validation are those of the steps, not of the time that was spent looking."""
    log = Log(tmp_path / "log.jsonl", last_step=0, steps=8)
    watch = _watch(log, lambda line: None)
    for done in (1, 2):
        clock[0] += 4.0
        watch.add(done, 1e-3, STEP, 0.5)
        watch.read(lambda: "none")
        clock[0] += 100.0
        watch.pause()
    log.close()
    assert [line["tokens_per_second"] for line in read_log(tmp_path / "log.jsonl")] == [500.0, 500.0]
    assert watch.seconds == 208.0


def test_the_line_of_progress(clock, monkeypatch):
    """Bar, step, loss, rates with both peaks, share of reading, and the time left."""
    monkeypatch.setattr(module, "peaks_of", lambda device: (1e9, 0.5e9))
    lines = []
    watch = _watch(None, lines.append)
    clock[0] += 10.0
    watch.add(2, 1e-3, STEP, 0.1)
    assert lines == ["[#####...............] step 2/8  0:30 left"]
    watch.read(lambda: "none")
    clock[0] += 60.0
    watch.add(4, 1e-3, STEP, 0.1)
    share = training_flops(ARCHITECTURE, WORK) / 10.0 / 2 / 1e9
    assert lines[1] == (
        f"[##########..........] step 4/8  loss 2.500  200 tokens/s  0 TFLOP/s ({share:.1%} of 0, "
        f"{2 * share:.1%} of 0 measured)  reading 1.0%  1:10 left"
    )


def test_the_time_left_goes_by_rows(clock):
    """While the batch grows the first steps are small; half of the steps is far from half of the time."""
    settings = Settings(steps=14, batch_rows=8, batch_warmup=1.0)
    lines = []
    watch = _watch(None, lines.append, settings=settings)
    clock[0] += 12.0
    watch.add(6, 1e-3, STEP, 0.0)  # 2 * (1 + 2 + 3) rows of 2 * 36 - 8 or so
    total = sum(min(8, step * 7 // 14 + 1) for step in range(14))
    assert lines[0].endswith(f"0:{round(12 * (total - 12) / 12):02d} left")


class _Run:
    """What `wandb.init` returns, as far as it is used."""

    def __init__(self, **options):
        assert Path(options["dir"]).is_dir()
        self.options, self.logged, self.finished = options, [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


def test_wandb_gets_the_log(out, monkeypatch):
    """Every line goes to the project that was named, under an id that a resumed run keeps; then it is finished."""
    runs = []
    monkeypatch.setitem(
        sys.modules, "wandb", types.SimpleNamespace(init=lambda **options: runs.append(_Run(**options)) or runs[-1])
    )
    settings = Settings(
        model="modernbert-demo", width=32, heads=2, steps=6, batch_rows=4, eval_every=3, threads=1, wandb="mill"
    )
    train(settings, out, say=lambda line: None)
    (run,) = runs
    assert run.options["dir"] == str(out / "pretrain")
    assert run.finished
    assert (run.options["project"], run.options["resume"]) == ("mill", "allow")
    assert run.options["config"]["steps"] == 6
    lines = read_log(out / "pretrain" / "log.jsonl")
    assert [{"step": step, **values} for step, values in run.logged] == lines
    again = Tracker("mill", out / "pretrain", {"settings": {}})
    same = Tracker("mill", out / "pretrain", {"settings": {}})
    other = Tracker("mill", out, {"settings": {}})
    ids = [tracker._run.options["id"] for tracker in (again, same, other)]
    assert ids[0] == ids[1] != ids[2]


def test_wandb_is_optional(out, monkeypatch):
    """Without the package a run that asks for it is told in one line; others never import it (test_train)."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pretrain\.wandb: 'mill' is asked for, but the package wandb is not") as told:
        Tracker("mill", out, {"settings": {}})
    assert "\n" not in str(told.value)
