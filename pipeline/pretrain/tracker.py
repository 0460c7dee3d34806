"""Weights & Biases as a second home of the log; its package is imported only when a run asks for it."""

import hashlib
import json
from pathlib import Path
from typing import Any


class Tracker:
    """Sends the numbers of log lines to the project `project`; a resumed run goes on as the same one.

    Args:
        project: name of the project; account and server are the package's own settings.
        directory: where the package keeps its files.
        identity: settings and shards, shown beside the curves; with the directory they name the run.

    Raises:
        ValueError: the package is not installed.
    """

    def __init__(self, project: str, directory: Path, identity: dict[str, Any]) -> None:
        try:
            import wandb  # noqa: PLC0415 - optional, slow, and it opens connections
        except ImportError:
            raise ValueError(
                f"pretrain.wandb: {project!r} is asked for, but the package wandb is not installed: "
                "pip install wandb, or leave the key out"
            ) from None
        directory.mkdir(parents=True, exist_ok=True)  # or the package would keep its files elsewhere
        name = json.dumps([str(directory.resolve()), identity], sort_keys=True)
        self._run = wandb.init(
            project=project,
            id=hashlib.sha256(name.encode()).hexdigest()[:16],
            resume="allow",
            dir=str(directory),
            config=identity["settings"],
        )

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Send `lines`; those of steps it has already are dropped by the server."""
        for line in lines:
            self._run.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])

    def close(self) -> None:
        """Wait until everything is sent."""
        self._run.finish()
