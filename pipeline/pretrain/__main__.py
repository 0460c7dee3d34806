"""`python -m pipeline.pretrain SETTINGS.json OUT`: train on OUT/shards with the settings of a JSON file.

With `--relay` after them, progress is marked for the process that reads it and has the terminal; with `--check`, only
what would be refused is told.

Under `torchrun -m pipeline.pretrain ...` each process takes its share of every batch.

Exit codes: 0 done, 2 a mistake of the user's (one line), 3 stopped; the same command resumes.
"""

import json
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from pipeline.pretrain.disk import held
from pipeline.pretrain.display import Display
from pipeline.pretrain.settings import settings_from_dict
from pipeline.pretrain.start import check_start
from pipeline.pretrain.train import train
from pipeline.pretrain.watch import TrainingStoppedError
from pipeline.pretrain.world import join_world, leave

DONE, MISTAKE, STOPPED = 0, 2, 3


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    relays, checks = arguments[2:] == ["--relay"], arguments[2:] == ["--check"]
    display = Display(sys.stderr, terminal=sys.stderr.isatty() and not relays, relays=relays)
    if len(arguments) != 2 + (relays or checks):
        display.say("usage: python -m pipeline.pretrain SETTINGS.json OUT")
        return MISTAKE
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        try:
            values = json.loads(Path(arguments[0]).read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{arguments[0]}: not readable as JSON ({error})") from None
        settings = settings_from_dict(values)
        if checks:
            check_start(settings, Path(arguments[1]))
            return DONE
        world = join_world()
        out = Path(arguments[1])
        with held(out) if world.rank == 0 else nullcontext():
            summary = train(
                settings,
                out,
                say=display.say,
                progress=display.progress,
                stop=lambda: bool(signals),
                world=world,
            )
    except ValueError as error:
        display.say(str(error))
        return MISTAKE
    except torch.OutOfMemoryError:
        display.say("pretrain.micro_rows: the GPU has no room for as many rows at a time as it was given; set fewer")
        return MISTAKE
    except (TrainingStoppedError, OSError) as error:
        display.say(str(error))
        return STOPPED
    for line in _report(summary) if world.rank == 0 else ():
        display.say(line)
    return DONE


def _report(summary: dict[str, Any]) -> list[str]:
    """Return the closing lines: losses beside what they mean, and the examples."""
    lines = []
    if summary["first_loss"] is not None:
        lines.append(f"loss {summary['first_loss']:.3f} at the first step, {summary['last_loss']:.3f} at the last")
    if summary["validation_loss"] is not None:
        lines.append(
            f"validation loss {summary['validation_loss']:.3f} nats, accuracy {summary['validation_accuracy']:.1%}; "
            f"without context {summary['unigram_entropy']:.3f}, by blind guessing {summary['uniform_entropy']:.3f}"
        )
    for example in summary["fill_mask"]:
        guesses = ", ".join(f"{guess['token']} {guess['probability']:.0%}" for guess in example["predictions"])
        truth = f" (was: {example['truth']})" if "truth" in example else ""
        lines.append(f"  {example['text']!r}{truth}: {guesses}")
    return lines


if __name__ == "__main__":
    code = main(sys.argv[1:])
    leave(code)
    sys.exit(code)
