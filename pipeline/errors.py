"""The two ways a command fails: a mistake of the user's, or a run that can be resumed; each is told in one line."""

import logging


class UserError(Exception):
    """A mistake of the user's: one line that says what, where, and the nearest valid value. Exit code 2."""


class RunFailed(Exception):  # noqa: N818 - reads as what happened
    """The run failed; the same command resumes it. Exit code 3."""


def quiet_beam() -> None:
    """Keep Beam from printing what we tell in one line: tracebacks of DoFns, and cloud clients that are absent."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
