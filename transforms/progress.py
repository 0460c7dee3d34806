"""Live counts of this process, for the progress line of a local run. Not the accounting: that is the unit records."""

from collections.abc import Callable
from typing import Any


def _nobody(documents: int, text_bytes: int) -> None:
    """Nobody listens."""


_advance: Callable[[int, int], Any] = _nobody


def connect(advance: Callable[[int, int], Any]) -> None:
    """Send the counts of this process to `advance(documents, text_bytes)`; engines call it where the work is done."""
    global _advance  # noqa: PLW0603 - the one process-wide hook: DoFns are unpickled and cannot be handed a pipe
    _advance = advance


def disconnect() -> None:
    """Send the counts nowhere again."""
    connect(_nobody)


def advance(*, documents: int, text_bytes: int) -> None:
    """Report work done since the last call."""
    _advance(documents, text_bytes)
