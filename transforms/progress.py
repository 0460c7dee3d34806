"""Live counts of this process, for the progress line of a local run. Not the accounting: that is the unit records."""

from collections.abc import Callable
from typing import Any

_advance: Callable[[int, int], Any] = lambda documents, text_bytes: None  # noqa: ARG005, E731


def connect(advance: Callable[[int, int], Any]) -> None:
    """Send the counts of this process to `advance(documents, text_bytes)`; the local engine calls it once a worker."""
    global _advance  # noqa: PLW0603 - the one process-wide hook: DoFns are unpickled and cannot be handed a pipe
    _advance = advance


def advance(*, documents: int, text_bytes: int) -> None:
    """Report work done since the last call."""
    _advance(documents, text_bytes)
