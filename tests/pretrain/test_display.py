"""The display: in place on a terminal, plain lines elsewhere, and from one process to another."""

import io

import pytest

from pipeline.pretrain import display as module
from pipeline.pretrain.display import RELAYED, Display


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("COLUMNS", "12")
    return now


def test_a_terminal_is_rewritten_in_place(clock):
    """Progress replaces itself twice a second and never wraps; a line that stays takes its place; the end is clean."""
    stream = io.StringIO()
    display = Display(stream, terminal=True)
    for step in range(4):
        display.progress(f"step {step} of many steps")
        clock[0] += 0.25
    display.say("validation")
    display.close()
    assert stream.getvalue() == "\r\033[Kstep 0 of m\r\033[Kstep 2 of m\r\033[Kvalidation\n\r\033[K"


def test_plain_lines_elsewhere(clock):
    """Into a file or a pipe progress is a whole line every 30 seconds, without control characters."""
    stream = io.StringIO()
    display = Display(stream, terminal=False)
    for step in range(100):
        display.progress(f"step {step} of many steps")
        clock[0] += 1.0
    display.say("done")
    display.close()
    assert stream.getvalue().splitlines() == [*(f"step {step} of many steps" for step in (30, 60, 90)), "done"]


@pytest.mark.parametrize("terminal", [True, False])
def test_relayed_to_the_process_with_the_terminal(clock, terminal):
    """What a relaying display writes, read line by line by another, is shown as if that one had been asked."""
    shown = io.StringIO(), io.StringIO()
    direct, other = (Display(stream, terminal=terminal) for stream in shown)
    pipe = io.StringIO()
    relay = Display(pipe, terminal=False, relays=True)
    for step in range(80):
        for display in (direct, relay):
            display.progress(f"step {step}")
            if step % 32 == 0:
                display.say(f"validation {step}")
        for line in pipe.getvalue().splitlines(keepends=True):
            text = line.rstrip("\n")
            other.progress(text.removeprefix(RELAYED)) if text.startswith(RELAYED) else other.say(text)
        pipe.seek(0)
        pipe.truncate()
        clock[0] += 0.75
    assert shown[0].getvalue() == shown[1].getvalue()
    assert "validation 64\n" in shown[0].getvalue()
