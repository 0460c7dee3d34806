"""`gristmill status`: how far the run in a directory is, read from another terminal."""

import fcntl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import UserError
from pipeline.escape import printable
from pipeline.progress import FILE, JobProgress, duration
from transforms import storage


def read_status(out: str) -> dict[str, Any]:
    """Return progress.json; `state` is `killed` where the run that wrote `running` is no more.

    Raises:
        UserError: no run has begun there.
    """
    try:
        found: dict[str, Any] | None = storage.read_json(storage.join(out, FILE))
    except (NotADirectoryError, ImportError, ValueError):
        found = None
    if found is None:
        raise UserError(f"{out} holds no {FILE}; give the output directory of a run that has begun")
    try:
        list(status_lines(found))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{storage.join(out, FILE)} is not what gristmill writes there") from None
    if found["state"] == "running" and storage.is_local(out) and not is_locked(out):
        found["state"] = "killed"
    return found


def is_locked(out: str) -> bool:
    """Whether a process works on the local directory `out`: it holds the lock."""
    path = storage.local_path(out) / ".lock"
    if not path.exists():
        return False
    with path.open("r") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def status_lines(status: dict[str, Any]) -> Iterator[str]:
    """Yield the lines for people: what the run does, each job, and how old this is."""
    state = status["state"]
    began = datetime.fromisoformat(status["started"])
    updated = datetime.fromisoformat(status["updated"])
    hints = {
        "running": f" (process {status['process']})",
        "killed": " (its process is gone; the same command resumes)",
        "done": "",
    }
    began_ago = duration((datetime.now(UTC) - began).total_seconds())
    yield f"{state}{hints.get(state, ' (the same command resumes)')}, begun {began_ago} ago"
    for entry in status["jobs"]:
        job = JobProgress(**entry)
        if job.state == "running":
            yield f"  {printable(job.describe())}"
        else:
            done = f"{job.state}, {job.units_done}/{job.units} units in {duration(job.seconds)}"
            rate = f", {job.documents / max(job.seconds, 1e-9):,.0f} documents/s" if job.documents else ""
            yield f"  {printable(job.name)}: {done}{rate}"
    if status["note"]:
        yield f"  {printable(status['note'])}"
    yield f"last sign of life {duration((datetime.now(UTC) - updated).total_seconds())} ago"
