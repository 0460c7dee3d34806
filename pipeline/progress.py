"""How far a run is: counted here, shown by a display, and kept in OUT/progress.json for `gristmill status`."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from pipeline.job import Say
from transforms import storage

FILE = "progress.json"
_LOCAL_EVERY_S, _REMOTE_EVERY_S = 1.0, 30.0  # an object store is written by uploads


@dataclasses.dataclass(kw_only=True, slots=True)
class JobProgress:
    """One job of a run; rates are means since it began."""

    name: str
    units: int  # to be done now; what was committed before does not count
    units_done: int = 0
    documents: int = 0
    text_bytes: int = 0
    seconds: float = 0.0
    state: str = "running"  # or done, failed, stopped

    @property
    def seconds_left(self) -> float | None:
        """The time left if all units are equal; None before the first one ended."""
        return self.seconds * (self.units - self.units_done) / self.units_done if self.units_done else None

    def describe(self) -> str:
        """Return units, rates and time left on one line."""
        seconds = max(self.seconds, 1e-9)
        left = "estimating" if self.seconds_left is None else f"{duration(self.seconds_left)} left"
        rates = f"{self.documents / seconds:,.0f} documents/s, {self.text_bytes / seconds / 1e6:.1f} MB/s"
        return f"{self.name}: {self.units_done}/{self.units} units, {rates if self.documents else 'working'}, {left}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units: 0.4 s, 12 s, 3 min 20 s, 5 h 7 min, 2 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {below}"
    return f"{whole} s"


class Display(Protocol):
    """One way of showing progress."""

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def show(self, job: JobProgress) -> None:
        """Show how far a job is; called often, and when it begins and ends."""

    def note(self, line: str) -> None:
        """Show a line that the next one replaces."""

    def close(self) -> None:
        """Leave the terminal as a shell expects it."""


class PlainDisplay:
    """Lines that stay; of progress one now and then, and none of jobs that are done before."""

    every_s = 30.0

    def __init__(self, say: Say) -> None:
        self.say = say
        self._shown = time.monotonic()

    def show(self, job: JobProgress) -> None:
        if job.units_done == 0 and job.seconds == 0.0:
            self._shown = time.monotonic()
        elif job.state == "running":
            self.note(job.describe())

    def note(self, line: str) -> None:
        if time.monotonic() - self._shown >= self.every_s:
            self._shown = time.monotonic()
            self.say(line)

    def close(self) -> None:
        """Nothing is left open."""


class Progress:
    """The progress of one run: engines report here."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self._out: str | None = None
        self._jobs: list[JobProgress] = []
        self._note = ""
        self._has_begun = False
        self._started, self._written, self._began = datetime.now(UTC), 0.0, 0.0

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self.display.say(line)

    def note(self, line: str) -> None:
        """Show and keep a line of a stage that counts in other units: the trainer's steps."""
        self._note, self._has_begun = line, True
        self.display.note(line)
        self._keep("running")

    @contextlib.contextmanager
    def of(self, out: str) -> Iterator[None]:
        """Keep the state of the run in `out` from its first job on, and how it ended; without a job nothing changes."""
        self._out = out
        state = "failed"
        try:
            yield
            state, self._note = "done", ""
        except KeyboardInterrupt:
            state = "stopped"
            raise
        except Exception as error:
            self._note = " ".join(str(error).split())
            raise
        finally:
            self._keep(state, at_once=True)
            self.display.close()

    @contextlib.contextmanager
    def job(self, name: str, units: int) -> Iterator[None]:
        """Show a job from its beginning to its end."""
        job = JobProgress(name=name, units=units)
        self._jobs.append(job)
        self._note, self._began, self._has_begun = "", time.monotonic(), True
        self.display.show(job)
        try:
            yield
        except BaseException as error:
            job.state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        else:
            job.state, job.units_done = "done", units
        finally:
            job.seconds = time.monotonic() - self._began
            self.display.show(job)
            self._keep("running")

    def update(self, *, units_done: int, documents: int, text_bytes: int) -> None:
        """Report totals of the job since it began."""
        job = self._jobs[-1]
        job.units_done, job.documents, job.text_bytes = units_done, documents, text_bytes
        job.seconds = time.monotonic() - self._began
        self.display.show(job)
        self._keep("running")

    def advance(self, documents: int, text_bytes: int) -> None:
        """Report work of this process since the last call."""
        job = self._jobs[-1]
        self.update(
            units_done=job.units_done, documents=job.documents + documents, text_bytes=job.text_bytes + text_bytes
        )

    def _keep(self, state: str, *, at_once: bool = False) -> None:
        if self._out is None or not self._has_begun:
            return
        every_s = _LOCAL_EVERY_S if storage.is_local(self._out) else _REMOTE_EVERY_S
        if not at_once and time.monotonic() - self._written < every_s:
            return
        self._written = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk is told by what must be written
            storage.write_json(storage.join(self._out, FILE), self.as_json(state))

    def as_json(self, state: str) -> dict[str, Any]:
        """Return what progress.json holds."""
        return {
            "version": 1,
            "state": state,  # running, done, failed, stopped
            "process": os.getpid(),
            "started": self._started.isoformat(timespec="seconds"),
            "updated": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "note": self._note,
            "jobs": [dataclasses.asdict(job) | {"seconds": round(job.seconds, 3)} for job in self._jobs],
        }
