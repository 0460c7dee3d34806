"""The units that a worker is dealt: one pipeline goes through all of them, and its root asks here for the next.

A pipeline for each unit took 80 ms of processor time: built, checked, translated and pickled again.
"""

from collections.abc import Callable, Iterator

from transforms.unit import WorkUnit


def _none() -> Iterator[WorkUnit]:
    """Nobody deals."""
    return iter(())


_deal: Callable[[], Iterator[WorkUnit]] = _none


def deal_from(source: Callable[[], Iterator[WorkUnit]]) -> None:
    """Let `source` deal the units of the next pipeline of this process."""
    global _deal  # noqa: PLW0603 - the one process-wide hook: DoFns are unpickled and cannot be handed a pipe
    _deal = source


def dealt() -> Iterator[WorkUnit]:
    """Return the units; that the next one is asked for says that the graph is done with the last."""
    return _deal()
