"""The log: one JSON object a line, one line a step or a validation; report and TensorBoard draw from it."""

import json
import os
from pathlib import Path
from typing import Any

from pipeline.pretrain.events import EventFile
from pipeline.pretrain.tracker import Tracker


class Log:
    """Appends lines to `path`, and their numbers to an event file in `tensorboard/` beside it and to `tracker`.

    On a resume lines after the checkpoint's step are dropped, so that the log reads as if nothing had happened.
    """

    def __init__(self, path: Path, *, last_step: int, tracker: Tracker | None = None) -> None:
        self._tracker = tracker
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_log(path) if line["step"] <= last_step]
        draft = path.with_suffix(".tmp")
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept))
        draft.replace(path)
        self._file = path.open("a")
        self._events = EventFile(path.parent / "tensorboard" / "events.out.tfevents.gristmill")
        self._events.write(kept)

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append `lines` and hand them to the operating system."""
        self._file.write("".join(json.dumps(line) + "\n" for line in lines))
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


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; a last line cut by a crash is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
