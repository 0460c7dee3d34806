"""Runs as processes of their own, to be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"


def start(path, out, *more):
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "run",
        str(path),
        "--set",
        "runner.engine=local",
        "--set",
        f"output={out}",
        *more,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def num_commits(out: Path) -> int:
    return sum(1 for _ in out.glob("units/*/*.json"))


def wait_for_commits(process, out, wanted):
    deadline = time.monotonic() + 120
    while process.poll() is None and num_commits(out) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def servers(pid: int) -> list[int]:
    """Return the fork servers of a run."""
    return [child for child in children(pid) if "forkserver" in Path(f"/proc/{child}/cmdline").read_text()]


def workers(pid: int) -> list[int]:
    """Return the workers of a run: children of its fork server."""
    return [worker for server in servers(pid) for worker in children(server)]


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
