"""Our dataset for other people's training loops: every row once an epoch, at any step, for any number of processes."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.pretrain.shard_dataset import ShardDataset
from tests.pretrain.shards import SEQ_LENGTH, make_pairs, make_rows, write_pairs, write_split


@pytest.fixture
def train(tmp_path):
    write_split(tmp_path / "train", make_rows(48, 1), num_files=3)
    return tmp_path / "train"


def take(dataset, steps):
    return list(islice(dataset, steps))


def rows_of(batches):
    return [tuple(row) for batch in batches for row in batch["input_ids"].tolist()]


def test_an_epoch_visits_every_row_once(train):
    """Each epoch all rows, in an order of its own, and another seed another order."""
    dataset = ShardDataset(train, batch_rows=8, seed=3)
    batches = take(dataset, 12)
    everything = [tuple(row) for row in dataset.rows.read(np.arange(48)).ids_BS.tolist()]
    first, second = rows_of(batches[:6]), rows_of(batches[6:])
    assert sorted(first) == sorted(second) == sorted(everything)
    assert first != second
    assert rows_of(take(ShardDataset(train, batch_rows=8, seed=4), 6)) != first


def test_tensors_say_what_is_padding(train):
    """The mask covers the tokens of the documents, and no tensor is a copy of its array."""
    dataset = ShardDataset(train, batch_rows=8)
    batch = dataset.batch(0)
    assert batch["input_ids"].shape == (8, SEQ_LENGTH)
    assert batch["input_ids"].dtype == torch.int32
    assert torch.equal(batch["attention_mask"].sum(1), batch["document_lengths"].sum(1))
    assert (batch["input_ids"][~batch["attention_mask"]] == 0).all()
    assert (batch["input_ids"][batch["attention_mask"]] > 1).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_gives_the_batches_of_an_undisturbed_run(train, workers):
    """From any step number, with DataLoader's workers or without."""
    whole = take(ShardDataset(train, batch_rows=4, seed=7), 16)
    dataset = ShardDataset(train, batch_rows=4, seed=7, first_step=11)
    resumed = take(DataLoader(dataset, batch_size=None, num_workers=workers), 5)
    assert rows_of(resumed) == rows_of(whole[11:])


@pytest.mark.parametrize("world", [2, 4])
def test_processes_divide_the_same_global_batches(train, world):
    """The parts of all ranks, put together, are the batch of one process."""
    whole = take(ShardDataset(train, batch_rows=8, seed=7), 5)
    parts = [take(ShardDataset(train, batch_rows=8, seed=7, rank=rank, world=world), 5) for rank in range(world)]
    for step in range(5):
        together = torch.cat([part[step]["input_ids"] for part in parts])
        assert torch.equal(together, whole[step]["input_ids"])


def test_pairs_have_types_and_labels(tmp_path):
    """Rows of sentence pairs come with what next-sentence prediction needs."""
    pairs = make_pairs(8, 0)
    write_pairs(tmp_path / "train", pairs)
    batch = ShardDataset(tmp_path / "train", batch_rows=8).batch(0)
    assert sorted(batch["next_sentence_label"].tolist()) == sorted(label for _, _, label in pairs)
    assert batch["token_type_ids"].sum() == sum(len(second) for _, second, _ in pairs)
    assert torch.equal(batch["attention_mask"].sum(1), batch["document_lengths"].sum(1))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_rows": 9, "world": 2}, "9 cannot be divided among 2"),
        ({"batch_rows": 0}, "0 cannot be divided"),
        ({"batch_rows": 8, "world": 2, "rank": 2}, "rank 2 is not one of 2"),
    ],
)
def test_mistakes_are_one_line(train, tmp_path, options, told):
    """What cannot be divided, and a directory without rows."""
    with pytest.raises(ValueError, match=told):
        ShardDataset(train, **options)
    write_split(tmp_path / "empty", [], num_files=1)
    with pytest.raises(ValueError, match="no rows"):
        ShardDataset(tmp_path / "empty", batch_rows=1)
