"""A stage of one line for tests of the engines: each unit writes its own number, some units misbehave."""

import ctypes
import os
import signal
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.commit import UnitWriter
from transforms.each_unit import EachUnit
from transforms.unit import WorkUnit


def write_number(unit: WorkUnit, out: str) -> None:
    """Commit one row.

    `die-N` kills its process N times first, `bad` raises, `large` takes four gigabytes, `slow` and `deaf` wait.
    """
    kind, _, times = unit.name.partition("-")
    marks = Path(out) / "marks"
    marks.mkdir(exist_ok=True)
    if kind == "die" and len(list(marks.glob(f"{unit.name}.*"))) < int(times):
        (marks / f"{unit.name}.{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "large":
        np.empty(1 << 32, np.uint8)
    if kind == "bad":
        raise OSError(28, "No space left on device")
    if kind == "deaf":  # ctypes.PyDLL keeps the interpreter's lock during the call
        (marks / f"{unit.name}.{os.getpid()}").touch()
        ctypes.PyDLL(None).sleep(60)
    if kind == "slow":
        (marks / f"{unit.name}.{os.getpid()}").touch()
        signal.pause()
    writer = UnitWriter(out, "toy", unit)
    writer.write("deletions", pa.record_batch({"number": pa.array([unit.number])}))
    writer.commit({"input": 1, "kept": 1, "rejected": {}})


def misbehave(what: str, out: str) -> None:
    """Do as a unit of this name would, and leave the number of the process behind."""
    (Path(out) / "called").write_text(str(os.getpid()))
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "full":
        raise OSError(28, "No space left on device", out)
    if what == "store":
        raise OSError("the bucket is gone")  # as object stores do: without a number
    if what == "bad":
        raise KeyError(what)


def graph(units: beam.PCollection, out: str) -> None:
    """The toy stage's graph."""
    units | EachUnit(function=write_number, context=out)


def _note(out: str, what: str) -> None:
    with (Path(out) / "notes").open("a") as notes:
        notes.write(f"{what}\n")


def _write_noted(unit: WorkUnit, out: str) -> None:
    _note(out, unit.name)
    write_number(unit, out)


def noted_graph(units: beam.PCollection, out: str) -> None:
    """The same; that it is built, and what it does, are lines of a file."""
    _note(out, "graph")
    units | EachUnit(function=_write_noted, context=out)


class _Unfinished(beam.DoFn):
    def process(self, unit: WorkUnit) -> None:
        """Let everything go well."""

    def finish_bundle(self) -> None:
        raise RuntimeError("the bundle ended before the last batch of its unit")


def unfinished_graph(units: beam.PCollection, out: str) -> None:
    """The same, and a step that complains at its end."""
    units | EachUnit(function=write_number, context=out)
    units | beam.ParDo(_Unfinished()).with_output_types(str)
