"""The progress line of a stage: rewritten in place on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Self

from pipeline.job import Say

_PLAIN_EVERY_S = 30.0
_TERMINAL_EVERY_S = 0.5


class ProgressLine:
    """Shows units done, documents/s, MB/s and the time left. Use as a context manager."""

    def __init__(self, stage: str, num_units: int, say: Say) -> None:
        self._stage, self._num_units, self._say = stage, num_units, say
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def update(self, num_done: int, documents: int, text_bytes: int) -> None:
        """Show the state if enough time has passed since the last time."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_EVERY_S if self._terminal else _PLAIN_EVERY_S):
            return
        self._shown = now
        line = describe(self._stage, num_done, self._num_units, documents, text_bytes, now - self._started)
        if self._terminal:
            sys.stderr.write(f"\r\033[K{line}")
            sys.stderr.flush()
        else:
            self._say(line)


def describe(stage: str, num_done: int, num_units: int, documents: int, text_bytes: int, seconds: float) -> str:
    """Return the line: rates are means since the stage began; the time left assumes equal units."""
    seconds = max(seconds, 1e-9)
    left = f"{seconds * (num_units - num_done) / num_done:.0f} s left" if num_done else "estimating"
    rates = f"{documents / seconds:,.0f} documents/s, {text_bytes / seconds / 1e6:.1f} MB/s" if documents else "working"
    return f"{stage}: {num_done}/{num_units} units, {rates}, {left}"
