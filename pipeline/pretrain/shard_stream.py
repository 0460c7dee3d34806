"""Shards read over the network while training, from `s3://`, `gs://` or anything else that fsspec opens."""

import json
from collections.abc import Iterator
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.pretrain.order import permute
from pipeline.pretrain.rows import Chunk, RowBatch, ShardMetadata, chunk_of, metadata_of, read_rows
from pipeline.pretrain.shard_dataset import as_tensors, check_division
from pipeline.pretrain.splitmix import fold


class ShardStream(IterableDataset[dict[str, Tensor]]):
    """The batches of this process from shards that are not copied to disk, epoch after epoch, without end.

    Processes and their workers divide the shards, in an order of each epoch's own, and read each from start to end; the
    rows of a record batch (about 4 million tokens, all that is held in memory) are permuted. A shard is made of
    documents from everywhere, so this mixes well enough; `ShardDataset` mixes all rows. The batches depend on the seed,
    on `world` and on the number of workers. Resuming at `first_step` skips whole shards and reads one from its start.

    Args:
        url: shards of a split, as `s3://bucket/run/shards/train`.
        batch_rows: rows in one step over all processes.
        seed: of the order of shards and rows.
        first_step: the step to begin with.
        rank: number of this process.
        world: how many there are; a divisor of `batch_rows`.
        options: for fsspec, as `{"anon": True}`.

    Raises:
        ValueError: no shards, or fewer than processes and workers.
    """

    def __init__(
        self,
        url: str,
        *,
        batch_rows: int,
        seed: int = 0,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
        options: dict[str, Any] | None = None,
    ) -> None:
        check_division(batch_rows, rank, world)
        self._url, self._options = url.rstrip("/"), options or {}
        self._batch_rows, self._seed, self._first_step = batch_rows // world, seed, first_step
        self._rank, self._world = rank, world
        described = self._json("dataset_info.json")["splits"]
        self._names = [entry["filename"] for entry in self._json("state.json")["_data_files"]]
        self._lengths = next(iter(described.values())).get("shard_lengths", [])
        if len(self._lengths) != len(self._names):
            raise ValueError(f"{url}: dataset_info.json does not tell the rows of each shard; run tokenize again")
        if not sum(self._lengths):
            raise ValueError(f"{url}: no rows")
        with self._open(self._names[0]) as file:
            self.metadata = self._check(self._names[0], pa.ipc.open_stream(file).schema)

    def _open(self, name: str) -> Any:
        return fsspec.open(f"{self._url}/{name}", "rb", **self._options).open()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            with self._open(name) as file:
                return json.load(file)
        except FileNotFoundError:
            raise ValueError(f"{self._url}: no {name}; give the shards of a split, as OUT/shards/train") from None

    def _check(self, name: str, schema: pa.Schema, first: ShardMetadata | None = None) -> ShardMetadata:
        metadata = metadata_of(f"{self._url}/{name}", schema)
        if first is not None and not metadata.agrees_with(first):
            raise ValueError(f"{self._url}/{name}: made with {metadata}, but others with {first}; run tokenize again")
        return metadata

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        streams = self._world * count
        if len(self._names) < streams:
            raise ValueError(
                f"{self._url}: {len(self._names)} shards cannot be divided among {streams} readers; copy them to disk"
                " and take ShardDataset"
            )
        # DataLoader asks its workers in turn, beginning with the first: that one takes the turn of `first_step`.
        number = (number + self._first_step) % count
        skip = len(range(number, self._first_step, count))
        yield from self._batches(self._rank * count + number, streams, skip * self._batch_rows)

    def _batches(self, stream: int, streams: int, skip: int) -> Iterator[dict[str, Tensor]]:
        """Yield full batches of a stream's rows, after `skip` of them; a batch may span shards and epochs."""
        held: list[RowBatch] = []
        num_held = 0
        for chunk, rows_N, name, metadata in self._chunks(stream, streams, skip):
            while len(rows_N):
                taken_B, rows_N = np.split(rows_N, [self._batch_rows - num_held])  # noqa: PLW2901
                where = f"{self._url}/{name}"
                are_pairs = len(chunk.labels) > 0
                zeros_B = np.zeros(len(taken_B), np.int64)
                held.append(read_rows([chunk], zeros_B, taken_B, metadata=metadata, are_pairs=are_pairs, where=where))
                num_held += len(taken_B)
                if num_held == self._batch_rows:
                    yield as_tensors(_joined(held))
                    held, num_held = [], 0

    def _chunks(
        self, stream: int, streams: int, skip: int
    ) -> Iterator[tuple[Chunk, NDArray[np.int64], str, ShardMetadata]]:
        """Yield the record batches of a stream with the rows to take, in their order, for ever."""
        epoch = 0
        while True:
            order_N = permute(np.arange(len(self._names)), size=len(self._names), key=fold(self._seed, epoch))
            for shard in order_N[stream::streams].tolist():
                if skip >= self._lengths[shard]:
                    skip -= self._lengths[shard]
                    continue
                name, rows = self._names[shard], 0
                with self._open(name) as file:
                    reader = pa.ipc.open_stream(file)
                    metadata = self._check(name, reader.schema, self.metadata)
                    for number, batch in enumerate(reader):
                        key = fold(fold(fold(self._seed, epoch), shard), number)
                        rows += batch.num_rows
                        rows_N = permute(np.arange(batch.num_rows), size=batch.num_rows, key=key)[skip:]
                        skip = max(0, skip - batch.num_rows)
                        if len(rows_N):
                            yield chunk_of(f"{self._url}/{name}", batch), rows_N, name, metadata
                if rows != self._lengths[shard]:  # a stream cut at a message border reads as complete
                    raise ValueError(f"{self._url}/{name}: {rows} rows, but {self._lengths[shard]} were written")
            epoch += 1


def _joined(parts: list[RowBatch]) -> RowBatch:
    """Return the rows of all parts; those of other shards may have more pieces in a row."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.lengths_BP.shape[1] for part in parts)
    lengths = [np.pad(part.lengths_BP, ((0, 0), (0, width - part.lengths_BP.shape[1]))) for part in parts]
    types = [part.types_BS for part in parts if part.types_BS is not None]
    labels = [part.next_B for part in parts if part.next_B is not None]
    return RowBatch(
        np.concatenate([part.ids_BS for part in parts]),
        np.concatenate(lengths),
        np.concatenate(types) if types else None,
        np.concatenate(labels) if labels else None,
    )
