"""A worker of the local pool: the process that runs a job on FnApiRunner over the units that it is dealt."""

import fcntl
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from pipeline.errors import RunFailed, quiet_beam
from pipeline.job import Job
from transforms.unit import WorkUnit


class Call(NamedTuple):
    """What a worker is asked for between two jobs: a module-level function and its arguments."""

    function: Callable[..., object]
    arguments: tuple[Any, ...]


class _Deal:
    """The units of one job, as the parent sends them; None instead of one ends the job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: list[WorkUnit] = []
        self._is_over = False

    def __call__(self) -> Iterator[WorkUnit]:
        """Yield each unit as it comes, and answer None for it when the next one is asked for.

        Called again, as by `--direct_runner_bundle_repeat`, it yields those that it had before.
        """
        yield from self._seen
        while not self._is_over:
            unit = self._connection.recv()
            if unit is None:
                self._is_over = True
                return
            self._seen.append(unit)
            yield unit
            self._connection.send(None)


def work(
    connection: Connection,
    options: Sequence[str],
    counters: Any,
    environment: Mapping[str, str],
    memory_bytes: int | None,
) -> None:
    """Receive a job and its units, and answer each unit and the end of the job with None, or with an error line.

    A call is answered with None, or with what it raised.

    Args:
        connection: to the parent.
        options: Beam's.
        counters: int64 [2], documents and bytes of text done so far; written here and read by the parent.
        environment: the variables of this process. A fork server has those of the moment when it was started.
        memory_bytes: the most private memory that this process and its children may have each; None for no limit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _die_with_parent()
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # looked up again
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))  # not RLIMIT_AS: maps of files are free

    quiet_beam()

    import pyarrow as pa  # noqa: PLC0415 - the parent imports this module too, and may never need it

    from pipeline.dealing import deal_from  # noqa: PLC0415
    from pipeline.engine import BeamEngine  # noqa: PLC0415
    from transforms import progress  # noqa: PLC0415

    pa.set_cpu_count(1)

    def advance(num_documents: int, num_bytes: int) -> None:
        counters[0] += num_documents
        counters[1] += num_bytes

    progress.connect(advance)
    engine = BeamEngine("apache_beam.runners.portability.fn_api_runner.FnApiRunner", options)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if isinstance(job, Call):
            connection.send(_answer(job))
            continue
        assert isinstance(job, Job)
        deal_from(_Deal(connection))
        try:
            engine.execute_dealt(job)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it was, the parent decides what it means
            connection.send(str(error).removeprefix(f"{job.stage}: ") or type(error).__name__)
        else:
            connection.send(None)


def _answer(call: Call) -> Exception | None:
    try:
        call.function(*call.arguments)
    except OSError as error:
        if error.errno is None:  # object stores raise a text alone
            return OSError(str(error) or type(error).__name__)
        return OSError(error.errno, error.strerror, error.filename)
    except Exception as error:  # noqa: BLE001 - an error of any class need not pickle
        return RunFailed(f"{type(error).__name__}: {error}")
    return None


def _die_with_parent() -> None:
    """Arrange that no worker outlives its parent and writes into a later run.

    A thread alone sleeps as long as a call holds the interpreter's lock (20 s were seen). On Linux the kernel does it:
    a pipe that only the parent has open for writing signals its end. PR_SET_PDEATHSIG would ask for the fork server's.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
