"""The clean chain step by step: what share each takes, and how far it is from reading the bytes once.

    python tests/bench/chain_steps.py [--megabytes 100] [--rounds 3]

The corpus and configuration of tests/bench/chain.py in one process without Beam: each batch goes through the steps of
the clean stage, is signed, split and written, with processor time stamped between. The first round, in which the chunks
of text are new to the quality rules (those of the first 28 MB), is printed beside the median of the others. Reading
once is the sum of all bytes as 64-bit integers, from memory.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.clean import minhash_parameters, steps
from pipeline.config import Config
from tests.bench.chain import RULES, write_corpus
from transforms.commit import UnitWriter
from transforms.ledger import CleanSplit
from transforms.read import read_unit
from transforms.signing import Sign, sign
from transforms.unit import Slice, WorkUnit


def one_round(config: Config, paths: list[Path], out: str) -> dict[str, float]:
    """Clean the files, each as a unit; return processor seconds by step."""
    seconds: dict[str, float] = {}
    sources = {source.name: source for source in config.sources}
    parameters = minhash_parameters(config)
    chain = [*steps(config), partial(sign, parameters=parameters)]
    names = [*(type(step).__name__ for step in chain[:-1]), "Sign"]
    schema = Sign(parameters=parameters).schema
    split = CleanSplit(stage="clean", signatures=schema, keep_text=False, statistics=())

    def stamp(name: str, start: float) -> float:
        now = time.process_time()
        seconds[name] = seconds.get(name, 0.0) + now - start
        return now

    for number, path in enumerate(paths):
        part = Slice("en", str(path), number, 0, 0, -1, path.stat().st_size, "")
        unit = WorkUnit(f"en-{number:06d}", number, "key", (part,))
        writer = UnitWriter(out, "clean", unit)
        for table, columns in split.schemas.items():
            writer.open(table, columns)
        now = time.process_time()
        for _, batch in read_unit(unit, sources):
            now = stamp("JSONL to Arrow", now)
            for name, step in zip(names, chain, strict=True):
                batch = step(batch)  # noqa: PLW2901 - each step makes the next one's batch
                now = stamp(name, now)
            tables, _ = split(batch)
            now = stamp("splitting kept from rejected", now)
            for table, rows in tables.items():
                writer.write(table, rows)
                now = stamp(f"writing {table}/", now)
        writer.commit({})
        stamp("commit: hashes, fsync", now)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        num_bytes = write_corpus(Path(directory) / "corpus", given.megabytes)
        paths = sorted((Path(directory) / "corpus").iterdir())
        config = Config.model_validate(
            {
                "name": "bench",
                "output": directory,
                "sources": [{"name": "en", "format": "jsonl", "path": str(paths[0])}],
                "clean": {"language": {"keep": ["en"]}, "quality": list(RULES), "pii": ["email", "ip"]},
            }
        )
        words = [np.fromfile(path, np.uint8) for path in paths]
        words = [data[: len(data) // 8 * 8].view(np.uint64) for data in words]
        start = time.process_time()
        for data in words:
            data.sum()
        once = time.process_time() - start
        first = Path(directory) / "first.jsonl"
        first.write_text('{"text": "The kernels are loaded before they are timed."}\n')
        one_round(config, [first], directory)
        found = [one_round(config, paths, directory) for _ in range(1 + given.rounds)]
    known = {name: statistics.median(seconds[name] for seconds in found[1:]) for name in found[0]}
    total, scale = sum(known.values()), 1e9 / num_bytes
    print("| step | new text, ms a MB | known, ms a MB | share % | times reading once |\n|---|---|---|---|---|")
    for name in sorted(known, key=lambda name: -known[name]):
        costs = f"{found[0][name] * scale:.2f} | {known[name] * scale:.2f}"
        print(f"| {name} | {costs} | {known[name] / total:.0%} | {known[name] / once:.1f} |")
    print(f"| all | {sum(found[0].values()) * scale:.2f} | {total * scale:.2f} | 100% | {total / once:.0f} |")


if __name__ == "__main__":
    main()
