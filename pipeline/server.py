"""The fork server of the local engine: a process that has imported everything, of which workers are copies.

It is the longest way to the first unit, so it is started first, and imports while this process reads its configuration,
plans and locks.
"""

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")

# One process, one core: the pool is the parallelism. Read by OpenMP, numba, Arrow and tokenizers when they load.
_THREAD_LIMITS = {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "2",
    "TOKENIZERS_PARALLELISM": "false",
}


def begin_server() -> None:
    """Start the server unless it runs; it ends with this process."""
    if sys.platform != "linux":
        return
    CONTEXT.set_forkserver_preload(["pipeline.preload"])
    with starting():
        forkserver.ensure_running()
    atexit.unregister(end_server)
    atexit.register(end_server)


def end_server() -> None:
    """End the server if it runs; the next worker starts another.

    It is killed: busy with its imports it would keep a pipe open for a second after a mistake has been told.
    """
    server: Any = forkserver._forkserver  # noqa: SLF001 - nothing public ends it
    if server._forkserver_pid is not None:  # noqa: SLF001
        with contextlib.suppress(OSError):
            os.kill(server._forkserver_pid, signal.SIGKILL)  # noqa: SLF001
            server._stop()  # noqa: SLF001


def worker_environment() -> dict[str, str]:
    """Return the variables of a worker, as they are for this process now."""
    return {**_THREAD_LIMITS, **os.environ}


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Start processes in here: they find our modules first, have one thread each, and never see Ctrl-C.

    The terminal sends it to all, and the parent decides. The server ignores it too, but only when it has imported
    everything, and would show a traceback of that.
    """
    resource_tracker.ensure_running()  # else it is started meanwhile, and lets the signals of this thread through again
    path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    # The server imports before it is told our path, and would begin with the directory it is started in.
    given = {**worker_environment(), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    before = dict(os.environ)
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
