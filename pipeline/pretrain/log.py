"""The log: one JSON object a line, one line a step or a validation; report and TensorBoard draw from it."""

import json
import math
import os
from pathlib import Path
from typing import Any

from pipeline.pretrain.disk import replace_text
from pipeline.pretrain.events import EventFile
from pipeline.pretrain.tracker import Tracker


class Log:
    """Appends lines to `path`, and their numbers to an event file in `tensorboard/` beside it and to `tracker`.

    On a resume lines after the checkpoint are dropped, so that the log reads as if nothing had happened: those of later
    steps, and the validation after the last step of all.

    Args:
        path: of the log.
        last_step: of the checkpoint, 0 without one.
        steps: of the whole run.
        tracker: gets the same lines.
    """

    def __init__(self, path: Path, *, last_step: int, steps: int, tracker: Tracker | None = None) -> None:
        self._tracker = tracker
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [
            line for line in read_log(path) if line["step"] <= last_step and ("loss" in line or line["step"] < steps)
        ]
        replace_text(path, "".join(_as_json(line) for line in kept))
        self._file = path.open("a")
        self._events = EventFile(path.parent / "tensorboard" / "events.out.tfevents.gristmill")
        self._events.write(kept)

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append `lines` and hand them to the operating system."""
        self._file.write("".join(_as_json(line) for line in lines))
        self._file.flush()
        self._events.write(lines)
        if self._tracker:
            self._tracker.write(lines)

    def sync(self) -> None:
        """Return when all lines are on disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._events.close()
        if self._tracker:
            self._tracker.close()


def _as_json(line: dict[str, Any]) -> str:
    """Return a line of the log; a number that is not finite is null, as JSON has no other."""
    finite = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in line.items()}
    return json.dumps(finite) + "\n"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; a last line cut by a crash is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
