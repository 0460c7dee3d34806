"""Where a run goes on: at its end, at a checkpoint, or at the start."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.pretrain.checkpoint import Checkpoint, load_checkpoints


def finished_summary(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the summary in `out` if a run of the same identity (settings and shards) came to its end there."""
    path = out / "pretrain" / "summary.json"
    if not path.exists() or not (out / "model").is_dir():
        return None
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # damaged; the last checkpoint gives it again
        return None
    return summary if summary.get("identity") == as_json(identity) else None


def last_checkpoint(directory: Path, identity: dict[str, Any], say: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest intact checkpoint, None where there is none at all; `say` which are damaged.

    Raises:
        ValueError: it was made with other settings or shards; or there are checkpoints, but none is intact.
    """
    refused: list[str] = []
    checkpoint = next(load_checkpoints(directory, refused), None)
    for line in refused:
        say(line)
    if checkpoint is None:
        if refused:
            raise ValueError(f"{directory}: no intact checkpoint; delete the directory to train from the start")
        return None
    wanted, found = as_json(identity), checkpoint.record
    new, old = wanted["settings"], found["settings"]
    other = [f"{name} {old.get(name)!r}, now {new[name]!r}" for name in new if old.get(name) != new[name]]
    if found["shards"] != wanted["shards"]:
        other.append("other shards")
    if other:
        advice = f"restore them, delete {directory}, or choose another output"
        raise ValueError(f"{checkpoint.path}: made with {'; '.join(other)}: {advice}")
    return checkpoint


def as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` as it reads after a round through JSON."""
    return json.loads(json.dumps(value))
