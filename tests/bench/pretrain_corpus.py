"""What cleaning is worth: the same training on clean and on raw text, held-out loss on the same clean rows.

    python tests/bench/pretrain_corpus.py CLEAN RAW --to DIR [--seconds 480] [--arm clean] [--set key=value]...

CLEAN and RAW are outputs of two runs over the same sources, RAW without rules and deduplication and with CLEAN's
tokenizer (`tokenizer: {load: CLEAN/tokenizer}`). Both arms have the settings, seed, steps and validation rows in common
and differ in their training rows. A call stops after `--seconds`; the same call again goes on where it stopped, so that
each fits a machine that is lent for minutes. Losses are compared at equal tokens; the table is made of what is there.
Copies of validation documents that cleaning would have removed stay in RAW's training rows: that helps RAW.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.pretrain.log import read_log
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import settings_from_dict
from pipeline.pretrain.train import train
from pipeline.pretrain.watch import TrainingStoppedError
from pipeline.pretrain.world import join_world

ARMS = ("clean", "raw")


def link(source: Path, target: Path) -> None:
    """Let `target` be `source`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(source.resolve())


def prepare(clean: Path, raw: Path, to: Path) -> None:
    """Lay out one directory an arm: rows of its own, tokenizer and validation rows of CLEAN."""
    for arm, rows in zip(ARMS, (clean, raw), strict=True):
        link(clean / "tokenizer", to / arm / "tokenizer")
        link(rows / "shards" / "train", to / arm / "shards" / "train")
        link(clean / "shards" / "validation", to / arm / "shards" / "validation")


def compare(to: Path) -> list[dict[str, Any]]:
    """Return a row for each look at the validation rows that both arms have taken."""
    curves = {}
    for arm in ARMS:
        tokens, curve = 0, {}
        for line in read_log(to / arm / "pretrain" / "log.jsonl"):
            tokens = line.get("tokens", tokens)
            if "validation_loss" in line:
                curve[line["step"]] = (tokens, line["validation_loss"], line["validation_accuracy"])
        curves[arm] = curve
    table = []
    for step in sorted(curves["clean"].keys() & curves["raw"].keys()):
        row: dict[str, Any] = {"step": step}
        for arm in ARMS:
            row |= dict(zip((f"{arm} tokens", f"{arm} loss", f"{arm} accuracy"), curves[arm][step], strict=True))
        table.append(row | {"raw - clean": row["raw loss"] - row["clean loss"]})
    return table


def main() -> None:
    """Train one arm or both, as long as there is time, and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clean", type=Path)
    options.add_argument("raw", type=Path)
    options.add_argument("--to", type=Path, required=True)
    options.add_argument("--seconds", type=float, default=480)
    options.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the settings, in JSON")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    end = time.monotonic() + given.seconds
    prepare(given.clean, given.raw, given.to)
    values = dict(pair.split("=", 1) for pair in given.set)
    settings = settings_from_dict({key: _value(text) for key, text in values.items()})
    world = join_world()
    for arm in given.arm or ARMS:
        rows = Rows(given.to / arm / "shards" / "train")
        print(f"{arm}: {rows.num_tokens:,} tokens in {len(rows):,} rows", file=sys.stderr)
        try:
            train(
                settings,
                given.to / arm,
                say=lambda line: print(line, file=sys.stderr),
                stop=lambda: time.monotonic() > end,
                world=world,
            )
        except TrainingStoppedError as stopped:
            print(f"{arm}: {stopped}", file=sys.stderr)
    table = compare(given.to)
    for row in table:
        print("  ".join(f"{key} {value:,.4f}" if isinstance(value, float) else f"{key} {value:,}"
                        for key, value in row.items()))  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps({"settings": values, "table": table}, indent=1))


def _value(text: str) -> Any:
    """Return the value that JSON reads in `text`, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
