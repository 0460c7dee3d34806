"""Progress: what is shown, what is kept on disk for another terminal, and how little that costs."""

import fcntl
import io
import json
import os
import threading

import pytest
from rich.console import Console

from pipeline import progress as module
from pipeline.cli import main
from pipeline.displays import Bars, JsonLines, chosen_display
from pipeline.errors import UserError
from pipeline.progress import JobProgress, PlainDisplay, Progress, duration
from pipeline.run_state import lock
from pipeline.status import read_status, status_lines
from tests.pipeline.corpus import write_config, write_corpus
from transforms import progress as live
from transforms import storage


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    moved = Clock()
    monkeypatch.setattr(module.time, "monotonic", moved)
    return moved


def test_rates_and_times_in_words():
    """Means since the job began; the time left assumes equal units."""
    job = JobProgress(name="clean", units=10, units_done=4, documents=2000, text_bytes=5_000_000, seconds=20.0)
    assert job.describe() == "clean: 4/10 units, 100 documents/s, 0.2 MB/s, 30 s left"
    assert JobProgress(name="dedup", units=2).describe() == "dedup: 0/2 units, working, estimating"
    times = [0.44, 12, 59.6, 200, 18420, 187_200]
    assert [duration(s) for s in times] == ["0.4 s", "12 s", "1 min 0 s", "3 min 20 s", "5 h 7 min", "2 d 4 h"]


def test_the_state_is_written_at_most_once_a_second(tmp_path, clock, monkeypatch):
    """A thousand reports in ten seconds are some ten files, and the end is written at once."""
    written = []
    monkeypatch.setattr(storage, "write_json", lambda path, value: written.append(value))
    run = Progress(PlainDisplay(lambda _: None))
    with run.of(str(tmp_path)), run.job("clean", 1000):
        for number in range(1000):
            clock.now += 0.01
            run.update(units_done=number, documents=10 * number, text_bytes=0)
    assert 10 <= len(written) <= 13
    assert written[5]["state"] == "running"
    assert 0 < written[5]["jobs"][0]["units_done"] < 1000
    assert (written[-1]["state"], written[-1]["jobs"][0]["state"]) == ("done", "done")
    assert written[-1]["jobs"][0]["units_done"] == 1000


@pytest.mark.parametrize(("error", "state"), [(UserError("too\nlong"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_how_a_run_ended_is_kept(tmp_path, error, state):
    """Failed or stopped, with the job that it happened in; a run that nothing is known of is no run."""
    run = Progress(PlainDisplay(lambda _: None))

    def fail():
        with run.of(str(tmp_path)), run.job("clean", 3):
            run.update(units_done=1, documents=5, text_bytes=50)
            raise error

    with pytest.raises(type(error)):
        fail()
    status = read_status(str(tmp_path))
    assert (status["state"], status["jobs"][0]["state"], status["jobs"][0]["units_done"]) == (state, state, 1)
    lines = list(status_lines(status))
    assert "the same command resumes" in lines[0]
    assert ("  too long" in lines) == (state == "failed")
    with pytest.raises(UserError, match=r"holds no progress\.json"):
        read_status(str(tmp_path / "nowhere"))


def test_a_refused_command_leaves_the_state_alone(tmp_path):
    """What fails before its first job is no run; a run that is done has no note of its trainer any more."""
    run = Progress(PlainDisplay(lambda _: None))
    with run.of(str(tmp_path)), run.job("pretrain", 1):
        run.note("step 9 of 10")
    assert read_status(str(tmp_path))["note"] == ""

    def refuse():
        with Progress(PlainDisplay(lambda _: None)).of(str(tmp_path)):
            raise UserError("clean is not complete")

    before = (tmp_path / "progress.json").read_bytes()
    with pytest.raises(UserError):
        refuse()
    assert (tmp_path / "progress.json").read_bytes() == before


@pytest.mark.parametrize("text", ['{"a":1}', "[1]", "3", '{"state": "done", "started": 1}'])
@pytest.mark.parametrize(("name", "command"), [("progress.json", "status"), ("run.json", "check")])
def test_a_file_of_somebody_else_is_one_line(tmp_path, capsys, text, name, command):
    """Exit code 2."""
    (tmp_path / name).write_text(text)
    assert main([command, str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert name in told
    assert told.count("\n") == 1


def test_a_full_disk_does_not_end_a_run_here(tmp_path, monkeypatch):
    """What cannot be kept is not kept; the tables tell of a full disk."""

    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_json", full)
    run = Progress(PlainDisplay(lambda _: None))
    with run.of(str(tmp_path)), run.job("clean", 1):
        pass


def test_status_from_another_terminal(tmp_path, capsys):
    """While the lock is held the run goes on; without it, what says `running` was killed."""
    out = str(tmp_path)
    run = Progress(PlainDisplay(lambda _: None))
    held = lock(out)
    with run.of(out), run.job("clean", 4):
        run.advance(30, 6000)
        run.note("step 3 \x1b[2J")
        run._keep("running", at_once=True)
        assert main(["status", out]) == 0
        shown = capsys.readouterr().out
        assert f"running (process {os.getpid()})" in shown
        assert "clean: 0/4 units" in shown
        assert "step 3 \\x1b[2J" in shown
        held.close()
        assert main(["status", out]) == 0
        assert "killed (its process is gone; the same command resumes)" in capsys.readouterr().out
    assert main(["status", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert main(["status", str(tmp_path / "nowhere")]) == 2


def test_asking_for_the_status_does_not_keep_a_run_from_its_lock(tmp_path):
    """Who looks whether the lock is free holds it for a moment; a run waits as long, and no longer for another run."""
    out = str(tmp_path)
    lock(out).close()
    with (tmp_path / ".lock").open("r") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        free = threading.Timer(0.1, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        free.start()
        held = lock(out)
        free.join()
    with held, pytest.raises(UserError, match="another gristmill is working"):
        lock(out)


def test_a_run_in_json_and_in_silence(tmp_path, capsys):
    """Every line is an object; the jobs come in order, each begins and ends, and documents are counted as they pass."""
    write_corpus(tmp_path / "corpus", files=1, per_file=30)
    path = str(write_config(tmp_path))
    assert main(["run", path, "--to", "dedup", "--progress", "json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    events = [json.loads(line) for line in captured.err.splitlines()]
    ended = {event["name"]: event for event in events if event.get("state") == "done"}
    begun = [event["name"] for event in events if event["event"] == "job" and event["seconds"] == 0.0]
    assert begun == [*ended]
    assert begun[0] == "clean"
    assert begun[-1] == "dedup"
    assert ended["clean"]["documents"] == 30
    assert ended["clean"]["text_bytes"] > 1000
    assert [job["name"] for job in read_status(str(tmp_path / "out"))["jobs"]] == begun
    assert main(["run", path, "--to", "dedup", "--set", "dedup.exact=false", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert live._advance is live._nobody
    assert main(["run", path, "--to", "dedup", "--set", "dedup.exact=false"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert read_status(str(tmp_path / "out"))["jobs"]  # those of the run before


def test_bars_on_a_terminal():
    """A bar a job with rate and time left; what is said stands above it and cannot command the terminal."""
    file = io.StringIO()
    run = Progress(Bars(Console(file=file, force_terminal=True, width=110)))
    with run.job("clean", 4):
        run.update(units_done=2, documents=500, text_bytes=1000)
        run.say("a unit died \x1b]0;owned\x07 [bold]x[/bold]")
    with pytest.raises(ValueError, match="broken"), run.job("dedup-runs", 2):
        raise ValueError("broken")
    run.note("step 1/10")
    run.display.close()
    shown = file.getvalue()
    for words in ("clean", "4/4", "dedup-runs", "failed", "a unit died \\x1b]0;owned\\x07 [bold]x[/bold]"):
        assert words in shown
    assert "\x1b]0;" not in shown


def test_plain_lines_are_few(clock):
    """None in the first half minute, then one every thirty seconds."""
    said = []
    run = Progress(PlainDisplay(said.append))
    with run.job("clean", 100):
        for number in range(100):
            clock.now += 1
            run.update(units_done=number, documents=number, text_bytes=0)
    assert [line.split(",")[0] for line in said] == [
        "clean: 29/100 units",
        "clean: 59/100 units",
        "clean: 89/100 units",
    ]


def test_the_display_follows_the_option(monkeypatch):
    """Elsewhere than on a terminal `auto` is plain."""
    assert isinstance(chosen_display("auto", print), PlainDisplay)
    assert isinstance(chosen_display("plain", print), PlainDisplay)
    assert isinstance(chosen_display("json", print), JsonLines)
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    lines = []
    display = JsonLines(lines.append)
    display.say('"quoted"\n')
    assert json.loads(lines[0]) == {"event": "message", "text": '"quoted"\n'}
