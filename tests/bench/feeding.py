"""Rows of shards as padded batches: our readers beside `datasets`, one process, tokens a second.

    python tests/bench/feeding.py

Rows of 512 and 8192 packed from lognormal lengths. The same rows come from every reader: those of the first batches
are compared first. Rates are by processor time, medians of three.
"""

import json
import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import datasets  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from pipeline.pretrain.order import rows_at  # noqa: E402
from pipeline.pretrain.shard_dataset import ShardDataset  # noqa: E402
from pipeline.pretrain.shard_stream import ShardStream  # noqa: E402
from transforms.packing import pack  # noqa: E402
from transforms.schema import tokens_schema  # noqa: E402
from transforms.shards import ShardMetadata, describe, shard_name, shard_schema, split_files  # noqa: E402
from transforms.tokenizer import SpecialIds  # noqa: E402

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
SHARDS = 3


def write_shards(directory, seq_length, rng):
    """Three shards of about 8 million tokens."""
    directory.mkdir(parents=True)
    rows_of_shard, num_bytes = [], 0
    for number in range(SHARDS):
        lengths = (rng.lognormal(5.5, 1.2, 16_000) + 1).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        ids = pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(rng.integers(5, 30522, offsets[-1]).astype(np.uint16))
        )
        columns = [pa.array(np.arange(len(lengths))), pa.array(np.arange(len(lengths)).astype(np.uint64)), ids]
        tokens = pa.Table.from_arrays(columns, schema=tokens_schema(30522, {}))
        options = {"seq_length": seq_length, "packing": "best_fit", "special_ids": SPECIAL, "vocab_size": 30522}
        rows, counts = pack(tokens, seed=number, **options)
        metadata = ShardMetadata(tokenizer_hash="0", max_pieces=counts.max_pieces, **options)
        table = describe(rows, metadata)
        path = directory / shard_name(number, SHARDS)
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
        rows_of_shard.append(table.num_rows)
        num_bytes += path.stat().st_size
    files = split_files(
        "train", rows_of_shard, schema=shard_schema(30522), num_bytes=num_bytes, fingerprint=f"{seq_length:016}"
    )
    for name, text in files.items():
        (directory / name).write_text(text)


def pad(rows):
    """Pad as a careful user would: one tensor, filled row by row."""
    batch = torch.zeros((len(rows), max(len(row["input_ids"]) for row in rows)), dtype=torch.int64)
    for index, row in enumerate(rows):
        batch[index, : len(row["input_ids"])] = torch.as_tensor(row["input_ids"])
    return {"input_ids": batch, "attention_mask": batch > 0}


def rate(reader, steps):
    """Return million tokens a processor second, the median of three passes over the first batches."""
    rates = []
    for _ in range(3):
        start = time.process_time()
        tokens = sum(int(batch["attention_mask"].sum()) for batch in islice(reader, steps))
        rates.append(tokens / (time.process_time() - start) / 1e6)
    return sorted(rates)[1]


def main():
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    print("| rows | reader | million tokens/s | ours is |")
    print("|---|---|---|---|")
    for seq_length, batch_rows in ((512, 128), (8192, 8)):
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "train"
            write_shards(directory, seq_length, rng)
            info = json.loads((directory / "dataset_info.json").read_text())["splits"]["train"]
            plain = datasets.load_from_disk(str(directory))
            ours = ShardDataset(directory, batch_rows=batch_rows)
            order = rows_at(0, 4 * batch_rows, num_rows=info["num_examples"], seed=0).tolist()
            expected = [
                pad([plain[row] for row in order[i : i + batch_rows]]) for i in range(0, len(order), batch_rows)
            ]
            for batch, wanted in zip(islice(ours, 4), expected, strict=True):
                width = wanted["input_ids"].shape[1]
                assert torch.equal(batch["input_ids"][:, :width].long(), wanted["input_ids"])
                assert not batch["input_ids"][:, width:].any()
            options = {"batch_size": batch_rows, "shuffle": True, "collate_fn": pad}
            readers = {
                "ShardDataset": ours,
                "ShardStream of local files": ShardStream(f"file://{directory}", batch_rows=batch_rows),
                "datasets, random rows, lists": DataLoader(plain, **options),
                "datasets, random rows, numpy": DataLoader(plain.with_format("numpy"), **options),
            }
            rates = {name: rate(reader, 100 if "Shard" in name else 10) for name, reader in readers.items()}
            for name, found in rates.items():
                print(f"| {seq_length} | {name} | {found:.1f} | {rates['ShardDataset'] / found:.1f} x |", flush=True)


if __name__ == "__main__":
    main()
