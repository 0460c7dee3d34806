"""Shards for a training loop of one's own: batches of rows as tensors, from memory-mapped files.

batches = ShardDataset("OUT/shards/train", batch_rows=256, seed=0, first_step=resumed)
for step, batch in enumerate(DataLoader(batches, batch_size=None), start=resumed): ...
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.pretrain.order import rows_at
from pipeline.pretrain.rows import RowBatch, Rows


class ShardDataset(IterableDataset[dict[str, Tensor]]):
    """The batches of this process, step after step and epoch after epoch, without end.

    Nothing is stored of where a run is: the batch of a step is computed from its number, so that resuming costs nothing
    at any step, and any number of processes walks through the same global batches, each taking its part. Each epoch
    visits every row once. With `DataLoader(batch_size=None, num_workers=n)` workers take turns and the order is kept.

    Args:
        directory: shards of a split, as `OUT/shards/train`.
        batch_rows: rows in one step over all processes.
        seed: of the order of rows.
        first_step: the step to begin with, 0 or where a run goes on.
        rank: number of this process.
        world: how many there are; a divisor of `batch_rows`.

    Raises:
        ValueError: no shards or damaged ones, no rows, or a batch that cannot be divided.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        batch_rows: int,
        seed: int = 0,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows = Rows(Path(directory))
        if not len(self.rows):
            raise ValueError(f"{directory}: no rows")
        check_division(batch_rows, rank, world)
        self._batch_rows, self._seed, self._first_step = batch_rows, seed, first_step
        self._rank, self._world = rank, world

    def batch(self, step: int) -> dict[str, Tensor]:
        """Return the part of this process of the batch of `step`."""
        part = self._batch_rows // self._world
        start = step * self._batch_rows + self._rank * part
        return as_tensors(self.rows.read(rows_at(start, part, num_rows=len(self.rows), seed=self._seed)))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        step, stride = self._first_step, 1
        if worker is not None:
            step, stride = step + worker.id, worker.num_workers
        while True:
            yield self.batch(step)
            step += stride


def check_division(batch_rows: int, rank: int, world: int) -> None:
    """Refuse a batch that the processes cannot divide.

    Raises:
        ValueError: one line that says what can.
    """
    if batch_rows < 1 or world < 1 or batch_rows % world:
        raise ValueError(f"batch_rows {batch_rows} cannot be divided among {world} processes; give a multiple")
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is not one of {world} processes")


def as_tensors(rows: RowBatch) -> dict[str, Tensor]:
    """Return B rows as tensors that share the memory of the arrays.

    Returns:
        input_ids: int32 [B, S], padded.
        attention_mask: bool [B, S], true for tokens.
        document_lengths: int32 [B, P], tokens of each piece, padded with 0.
        token_type_ids, next_sentence_label: of sentence pairs only, uint8 [B, S] and int64 [B].
    """
    num_tokens_B1 = rows.lengths_BP.sum(axis=1, keepdims=True)
    tensors = {
        "input_ids": torch.from_numpy(rows.ids_BS),
        "attention_mask": torch.from_numpy(np.arange(rows.ids_BS.shape[1]) < num_tokens_B1),
        "document_lengths": torch.from_numpy(rows.lengths_BP),
    }
    if rows.types_BS is not None and rows.next_B is not None:
        tensors["token_type_ids"] = torch.from_numpy(rows.types_BS)
        tensors["next_sentence_label"] = torch.from_numpy(rows.next_B)
    return tensors
