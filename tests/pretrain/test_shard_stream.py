"""Streaming of shards that lie behind a URL: the same rows, exact resume, division among readers."""

import json
from itertools import islice
from pathlib import Path

import fsspec
import pytest
from torch.utils.data import DataLoader

from pipeline.pretrain.shard_stream import ShardStream
from tests.pretrain.shards import SEQ_LENGTH, make_pairs, make_rows, write_pairs, write_split
from tests.transforms.readers.test_remote import bucket, s3_server  # noqa: F401

ROWS = 40


def describe(directory: Path, lengths):
    """Say how many rows each shard has, as the tokenize stage does."""
    path = directory / "dataset_info.json"
    info = json.loads(path.read_text()) if path.exists() else {"splits": {directory.name: {}}}
    info["splits"][directory.name]["shard_lengths"] = lengths
    path.write_text(json.dumps(info))


@pytest.fixture
def url(tmp_path):
    """Four shards in fsspec's memory, beside no local file."""
    directory = tmp_path / "train"
    write_split(directory, make_rows(ROWS, 1), num_files=4)
    describe(directory, [10] * 4)
    memory = fsspec.filesystem("memory")
    for path in directory.iterdir():
        memory.pipe(f"/bucket/train/{path.name}", path.read_bytes())
    yield "memory://bucket/train"
    memory.rm("/bucket", recursive=True)


def rows_of(batches):
    return [tuple(row) for batch in batches for row in batch["input_ids"].tolist()]


def expected_rows():
    return sorted(
        (*(token for piece in row for token in piece), *[0] * (SEQ_LENGTH - sum(map(len, row))))
        for row in make_rows(ROWS, 1)
    )


def take(stream, steps):
    return list(islice(stream, steps))


def test_an_epoch_is_every_row_once(url):
    """Batches that span shards and epochs lose no row; each epoch has an order of its own."""
    batches = take(ShardStream(url, batch_rows=8, seed=2), 10)
    assert {batch["input_ids"].shape for batch in batches} == {(8, SEQ_LENGTH)}
    first, second = rows_of(batches[:5]), rows_of(batches[5:])
    assert sorted(first) == sorted(second) == expected_rows()
    assert first != second
    assert len(take(ShardStream(url, batch_rows=7), 12)) == 12


@pytest.mark.parametrize("first_step", [0, 1, 3, 11, 23])
def test_resuming_goes_on_where_it_was(url, first_step):
    """At any step, within a shard and epochs later."""
    whole = take(ShardStream(url, batch_rows=7, seed=5), 30)
    resumed = take(ShardStream(url, batch_rows=7, seed=5, first_step=first_step), 30 - first_step)
    assert rows_of(resumed) == rows_of(whole[first_step:])


def test_readers_divide_the_shards(url):
    """Two ranks see all rows between them, none twice, and so do DataLoader's workers, resumed or not."""
    parts = [rows_of(take(ShardStream(url, batch_rows=10, rank=rank, world=2), 4)) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == expected_rows()


def test_workers_of_a_loader_resume(tmp_path):
    """The order of a loader with workers is that of one stream a worker, and resuming keeps it."""
    directory = tmp_path / "train"
    write_split(directory, make_rows(ROWS, 1), num_files=4)
    describe(directory, [10] * 4)

    def loaded(first_step, steps):
        stream = ShardStream(f"file://{directory}", batch_rows=5, seed=5, first_step=first_step)
        return rows_of(take(DataLoader(stream, batch_size=None, num_workers=2), steps))

    whole = loaded(0, 12)
    assert sorted(whole[:40]) == expected_rows()
    assert loaded(5, 7) == whole[25:]
    assert loaded(6, 6) == whole[30:]


@pytest.mark.parametrize("workers", [0, 2])
def test_s3_through_a_loader(tmp_path, bucket, workers):  # noqa: F811
    """The rows come from S3 too, in this process and in forked workers, which must not share its connections."""
    directory = tmp_path / "train"
    write_split(directory, make_rows(ROWS, 1), num_files=4)
    describe(directory, [10] * 4)
    for path in directory.iterdir():
        bucket.pipe(f"bucket/train/{path.name}", path.read_bytes())
    stream = ShardStream("s3://bucket/train", batch_rows=10)
    loaded = take(DataLoader(stream, batch_size=None, num_workers=workers, timeout=60 if workers else 0), 4)
    assert sorted(rows_of(loaded)) == expected_rows()


def test_pairs_stream_too(tmp_path):
    """Types and labels come along, also in batches made of two shards."""
    write_pairs(tmp_path / "train", make_pairs(9, 0))
    (tmp_path / "train" / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    )
    describe(tmp_path / "train", [9])
    batch = take(ShardStream(f"file://{tmp_path}/train", batch_rows=12), 1)[0]
    assert batch["next_sentence_label"].shape == (12,)
    assert batch["token_type_ids"].shape == (12, SEQ_LENGTH)


def test_mistakes_are_one_line(url, tmp_path):
    """Nothing there, more readers than shards, shards of before, a cut shard."""
    with pytest.raises(ValueError, match=r"no dataset_info\.json"):
        ShardStream("memory://bucket", batch_rows=4)
    with pytest.raises(ValueError, match="4 shards cannot be divided among 5"):
        take(ShardStream(url, batch_rows=5, world=5), 1)
    memory = fsspec.filesystem("memory")
    info = json.loads(memory.cat("/bucket/train/dataset_info.json"))
    info["splits"]["train"]["shard_lengths"] = [10, 10, 10, 11]
    memory.pipe("/bucket/train/dataset_info.json", json.dumps(info).encode())
    with pytest.raises(ValueError, match="10 rows, but 11 were written"):
        take(ShardStream(url, batch_rows=8), 6)
    del info["splits"]["train"]["shard_lengths"]
    memory.pipe("/bucket/train/dataset_info.json", json.dumps(info).encode())
    with pytest.raises(ValueError, match="does not tell the rows"):
        ShardStream(url, batch_rows=8)
