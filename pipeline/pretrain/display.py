"""The display of a run: lines that stay, and below them one line of progress, rewritten in place on a terminal."""

import shutil
import time
from typing import TextIO

TERMINAL_EVERY_S, PLAIN_EVERY_S = 0.5, 30.0
# Begins a line of progress on its way to the process that has the terminal.
RELAYED = "\x02"
_REWRITE = "\r\033[K"


class Display:
    """Writes to `stream`; elsewhere than on a terminal, progress is a plain line now and then.

    Args:
        stream: of text.
        terminal: whether `stream` is one.
        relays: whether another display reads `stream`; it decides what becomes of progress.
    """

    def __init__(self, stream: TextIO, *, terminal: bool, relays: bool = False) -> None:
        self._stream, self._terminal, self._relays = stream, terminal, relays
        self._every_s = TERMINAL_EVERY_S if terminal or relays else PLAIN_EVERY_S
        self._shown = time.monotonic() - (self._every_s if terminal or relays else 0.0)

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self._stream.write(f"{_REWRITE if self._terminal else ''}{line}\n")
        self._stream.flush()

    def progress(self, line: str) -> None:
        """Show how far the run is, if enough time has passed since the last time."""
        now = time.monotonic()
        if now - self._shown < self._every_s:
            return
        self._shown = now
        if self._relays:
            self._stream.write(f"{RELAYED}{line}\n")
        elif self._terminal:  # a line that wraps could not be rewritten
            self._stream.write(f"{_REWRITE}{line[: shutil.get_terminal_size().columns - 1]}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the progress off the terminal."""
        if self._terminal:
            self._stream.write(_REWRITE)
            self._stream.flush()
