"""The local engine: a pool of processes, each running the same graph on FnApiRunner over the units it claims.

FnApiRunner's own multi_processing is not used: it hangs for ever when one worker dies, deals units statically and
reports no progress. Here the parent deals units one by one, watches for deaths, and requeues (three tries).

On Linux workers are forked from a server that has imported everything, which no thread of this process can disturb.
Spawning each anew took 2.1 s of processor time and 300 MB of its own in each. Who starts the server before anything
else of its own does not wait for it (`server.py`).
"""

import contextlib
import fcntl
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any, Self

from pipeline.errors import RunFailed
from pipeline.job import Job, Say
from pipeline.progress import PlainDisplay, Progress
from pipeline.server import CONTEXT, begin_server, starting, worker_environment
from pipeline.worker import Call, work
from transforms.unit import WorkUnit

MAX_TRIES = 3
_TICK_S = 0.25


@dataclass
class _Worker:
    """The parent's view of one process."""

    process: BaseProcess
    connection: Connection
    counters: (
        Any  # int64 [2]: documents, text bytes; written by the worker alone, so a killed one leaves no lock behind
    )
    job: Job | None = None
    unit: WorkUnit | None = None


class LocalEngine:
    """A pool that lives as long as the run: workers import Beam and load kernels once. Use as a context manager."""

    def __init__(
        self,
        workers: int,
        options: Sequence[str],
        say: Say,
        progress: Progress | None = None,
        worker_bytes: int | None = None,
    ) -> None:
        self._num_workers, self._options, self._say = workers, list(options), say
        self._worker_bytes = worker_bytes
        self._progress = progress or Progress(PlainDisplay(say))
        self._workers: list[_Worker] = []
        self._scratch, self._lock = _new_scratch()  # killed workers clean nothing up; we do

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._lock.close()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a module-level function in a worker, which has imported and compiled already; wait until it is done.

        Without a worker, as where all units were committed before, it is called here.

        Raises:
            OSError: the function has.
            RunFailed: it has raised something else, or its worker died.
        """
        if not self._workers:
            function(*arguments)
            return
        worker = self._workers[0]
        with contextlib.suppress(OSError):
            worker.connection.send(Call(function, arguments))
        wait([worker.connection, worker.process.sentinel])
        _, error = self._receive(worker)
        if isinstance(error, Exception):
            raise error
        if error is _DIED:
            raise RunFailed("its worker died (out of memory?)")

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()

    def execute(self, job: Job, units: Sequence[WorkUnit]) -> None:
        waiting = deque(sorted(units, key=lambda unit: -unit.bytes))  # what takes longest is not begun last
        tries = dict.fromkeys((unit.name for unit in units), 0)
        num_done = 0
        for worker in self._workers:
            worker.counters[:] = (0, 0)
        with self._progress.job(job.stage, len(units)):
            while num_done < len(units):
                self._fill(min(self._num_workers, len(waiting) + sum(w.unit is not None for w in self._workers)))
                for worker in self._workers:
                    if worker.unit is None and waiting:
                        self._send(worker, job, waiting.popleft())
                for worker in self._ready():
                    unit, error = self._receive(worker)
                    if unit is None:
                        continue
                    if error is None:
                        num_done += 1
                    elif error is _DIED:
                        self._retry(job, unit, tries, waiting)
                    else:
                        raise RunFailed(f"{job.stage} {unit.name}: {error}")
                documents, text_bytes = (sum(worker.counters[i] for worker in self._workers) for i in (0, 1))
                self._progress.update(units_done=num_done, documents=documents, text_bytes=text_bytes)
            self._close(job)

    def _close(self, job: Job) -> None:
        """Let the workers end their pipelines. All units are committed, so one that dies now is no loss."""
        ending = [worker for worker in self._workers if worker.job is not None]
        for worker in ending:
            with contextlib.suppress(OSError):
                worker.connection.send(None)
        for worker in ending:
            worker.job = None
            wait([worker.connection, worker.process.sentinel])
            _, error = self._receive(worker)
            if error is not None and error is not _DIED:
                raise RunFailed(f"{job.stage}: {error}")

    def _fill(self, count: int) -> None:
        while len(self._workers) < count:
            parent, child = CONTEXT.Pipe()
            counters = CONTEXT.RawArray("q", 2)
            environment = {**worker_environment(), "TMPDIR": self._scratch}
            process = CONTEXT.Process(
                target=work, args=(child, self._options, counters, environment, self._worker_bytes), daemon=True
            )
            begin_server()  # goes on if it runs
            with starting():
                process.start()
            child.close()
            self._workers.append(_Worker(process, parent, counters))

    def _send(self, worker: _Worker, job: Job, unit: WorkUnit) -> None:
        worker.unit = unit
        with contextlib.suppress(OSError):  # a dead worker is noticed by its sentinel
            if worker.job is not job:
                worker.job = job
                worker.connection.send(job)
            worker.connection.send(unit)

    def _ready(self) -> list[_Worker]:
        handles: list[Any] = [worker.connection for worker in self._workers]
        handles += [worker.process.sentinel for worker in self._workers]
        ready = wait(handles, _TICK_S)
        return [w for w in self._workers if w.connection in ready or w.process.sentinel in ready]

    def _receive(self, worker: _Worker) -> tuple[WorkUnit | None, str | Exception | None]:
        """Return the unit that ended and its error, and make the worker idle; a dead worker leaves the pool."""
        unit = worker.unit
        try:
            if worker.connection.poll():
                error = worker.connection.recv()
                worker.unit = None
                return unit, error
        except (EOFError, OSError):
            pass
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        return unit, _DIED

    def _retry(self, job: Job, unit: WorkUnit, tries: dict[str, int], waiting: deque[WorkUnit]) -> None:
        tries[unit.name] += 1
        if tries[unit.name] == MAX_TRIES:
            raise RunFailed(f"{job.stage} {unit.name}: its worker died {MAX_TRIES} times (out of memory?)")
        self._say(f"{job.stage} {unit.name}: its worker died, trying again ({tries[unit.name]} of {MAX_TRIES - 1})")
        waiting.appendleft(unit)


_DIED = "worker died"
_PREFIX = "gristmill-"


def _new_scratch() -> tuple[str, IO[bytes]]:
    """Make a directory for the workers' temporary files, and delete those of killed parents.

    A parent holds the lock in its directory while it lives: process ids say nothing of another container's.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/.lock"):
        with contextlib.suppress(OSError), left.open("rb") as lock:  # of another user, or gone by now
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    scratch = tempfile.mkdtemp(prefix=_PREFIX)
    held = Path(scratch, ".new").open("wb")  # noqa: SIM115 - as long as the engine
    fcntl.flock(held, fcntl.LOCK_EX)
    Path(scratch, ".new").rename(Path(scratch, ".lock"))  # locked before anybody can look
    return scratch, held
