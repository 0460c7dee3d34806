"""Packing: tokens a second from a mapped token file into rows, and how full the rows are.

    python tests/bench/packing.py

Pack, place, copy; writing is left out. Best-fit-decreasing over the same pieces is the yardstick for the fill.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

from transforms.packing import pack  # noqa: E402
from transforms.schema import tokens_schema  # noqa: E402
from transforms.tokenizer import SpecialIds  # noqa: E402

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)


def sorted_best_fit_rows(lengths, capacity):
    """Rows that best-fit-decreasing needs, every piece sorted: rows counted by their free tokens."""
    num_free = np.zeros(capacity + 1, np.int64)
    num_rows = 0
    for length in np.sort(lengths)[::-1].tolist():
        fitting = np.flatnonzero(num_free[length:])
        if len(fitting):
            free = length + int(fitting[0])
            num_free[free] -= 1
        else:
            free = capacity
            num_rows += 1
        num_free[free - length] += 1
    return num_rows


def write_tokens(path, lengths, rng):
    """A token file of documents of these lengths, 4096 documents a batch."""
    schema = tokens_schema(30522, {})
    with pa.ipc.new_stream(path, schema) as writer:
        for part in np.array_split(np.arange(len(lengths)), max(1, len(lengths) // 4096)):
            offsets = np.concatenate([[0], np.cumsum(lengths[part])]).astype(np.int32)
            ids = rng.integers(5, 30522, offsets[-1]).astype(np.uint16)
            columns = [part, rng.integers(0, 2**63, len(part)).astype(np.uint64)]
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))
            writer.write_batch(pa.RecordBatch.from_arrays([*map(pa.array, columns), lists], schema=schema))


def main():
    rng = np.random.default_rng(0)
    laws = {
        "lognormal": (rng.lognormal(5.5, 1.2, 60_000) + 1).astype(np.int64),
        "reviews 300+-40": rng.normal(300, 40, 100_000).astype(np.int64),
        "paragraphs": (rng.lognormal(4.9, 0.35, 200_000) + 1).astype(np.int64),
        "sentences": (rng.lognormal(3.0, 0.7, 800_000) + 1).astype(np.int64),
    }
    print("lengths          method    row   Mtokens/s  ns/piece   fill %  sorted %  most in a row")
    for law, lengths in laws.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokens.arrow"
            write_tokens(path, lengths, rng)
            tokens = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
            for packing in ("best_fit", "concat", "none"):
                for seq_length in (512, 8192):
                    options = {
                        "seq_length": seq_length,
                        "packing": packing,
                        "special_ids": SPECIAL,
                        "vocab_size": 30522,
                    }
                    pack(tokens.slice(0, 9), seed=0, **options)
                    spent = []
                    for seed in range(3):
                        start = time.perf_counter()
                        rows, counts = pack(tokens, seed=seed, **options)
                        spent.append(time.perf_counter() - start)
                    seconds = float(np.median(spent))
                    fill = 100 * counts.row_tokens / counts.rows / seq_length
                    best = ""
                    if packing == "best_fit":
                        pieces = np.concatenate([chunk.values.to_numpy() for chunk in rows["document_lengths"].chunks])
                        best = f"{100 * counts.row_tokens / sorted_best_fit_rows(pieces, seq_length) / seq_length:.2f}"
                    print(
                        f"{law:16} {packing:8} {seq_length:5} {counts.tokens / seconds / 1e6:10.0f}"
                        f" {seconds / counts.pieces * 1e9:9.0f} {fill:8.2f} {best:>9} {counts.max_pieces:14}"
                    )


if __name__ == "__main__":
    main()
