"""The ways of showing progress beside plain lines: live bars on a terminal, JSON lines for programs, nothing."""

import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from pipeline.escape import printable
from pipeline.job import Say
from pipeline.progress import Display, JobProgress, PlainDisplay, duration

_JSON_EVERY_S = 1.0


class Bars:
    """A bar for each job with its rate and the time left; finished ones stay with how long they took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}", markup=False, style="dim"),
            console=console,
            refresh_per_second=4,
        )
        self._tasks: dict[int, TaskID] = {}
        self._line: TaskID | None = None

    def say(self, line: str) -> None:
        self._console.print(Text(printable(line)))

    def show(self, job: JobProgress) -> None:
        self._bars.start()
        if id(job) not in self._tasks:
            self._tasks[id(job)] = self._bars.add_task(job.name, total=job.units, told="")
        self._bars.update(self._tasks[id(job)], completed=job.units_done, told=_told(job))

    def note(self, line: str) -> None:
        self._bars.start()
        if self._line is None:
            self._line = self._bars.add_task("pretrain", total=None, told="")
        self._bars.update(self._line, told=printable(line))

    def close(self) -> None:
        if self._line is not None:
            self._bars.remove_task(self._line)
        self._bars.stop()


def _told(job: JobProgress) -> str:
    if job.state != "running":
        return f"{duration(job.seconds)}{'' if job.state == 'done' else f', {job.state}'}"
    return job.describe().split("units, ", 1)[1]


class JsonLines:
    """One JSON object a line: what was said, a job's begin and end, and its state once a second in between."""

    def __init__(self, write: Say) -> None:
        self._write = write
        self._shown = 0.0
        self._states: dict[int, str] = {}

    def say(self, line: str) -> None:
        self._event("message", text=line)

    def show(self, job: JobProgress) -> None:
        changed = self._states.get(id(job)) != job.state
        if not changed and time.monotonic() - self._shown < _JSON_EVERY_S:
            return
        self._states[id(job)] = job.state
        self._shown = time.monotonic()
        self._event(
            "job",
            name=job.name,
            state=job.state,
            units=job.units,
            units_done=job.units_done,
            documents=job.documents,
            text_bytes=job.text_bytes,
            seconds=round(job.seconds, 3),
            seconds_left=None if job.seconds_left is None else round(job.seconds_left, 1),
        )

    def note(self, line: str) -> None:
        if time.monotonic() - self._shown >= _JSON_EVERY_S:
            self._shown = time.monotonic()
            self._event("note", text=line)

    def close(self) -> None:
        """Nothing is left open."""

    def _event(self, event: str, **fields: Any) -> None:
        self._write(json.dumps({"event": event, **fields}))


class Silence:
    """Nothing at all."""

    def say(self, line: str) -> None:
        """Drop it."""

    def show(self, job: JobProgress) -> None:
        """Drop it."""

    def note(self, line: str) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing is left open."""


def chosen_display(mode: str, say: Say) -> Display:
    """Return the display for `--progress`: `auto` has bars on a terminal and plain lines elsewhere."""
    if mode == "json":
        return JsonLines(say)
    if mode == "quiet":
        return Silence()
    console = Console(stderr=True)
    return (
        Bars(console) if mode == "auto" and sys.stderr.isatty() and not console.is_dumb_terminal else PlainDisplay(say)
    )
