"""What the `datasets` library opens: hub names, local directories of data files, and what `save_to_disk` wrote.

A hub or local dataset is streamed shard by shard; the plan pins its commit. A saved one is its Arrow files.
"""

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from huggingface_hub import HfApi
from tqdm import tqdm

from transforms.readers.columns import pieces, rows_of_columns
from transforms.readers.listing import FileEntry, local_entry
from transforms.readers.rows import broken_row, readable_path
from transforms.readers.source import Source
from transforms.readers.stream import open_path
from transforms.unit import Slice

tqdm.set_lock(threading.RLock())  # its own is a semaphore that a worker leaves behind, and a warning with it
_BATCH_ROWS = 1024
_SHARD = re.compile(r"(?P<name>.*?)(?:@(?P<revision>[0-9a-f]{40}))?#(?P<index>\d+)-of-(?P<count>\d+)", re.DOTALL)


def list_shards(source: Source) -> list[FileEntry]:
    """Return one entry for each Arrow file of a saved dataset, or for each shard (`name@commit#0-of-4`) of another.

    Raises:
        ValueError: no such dataset, configuration or split.
        OSError: the hub does not answer.
    """
    directory = Path(source.path)
    if (directory / "dataset_dict.json").is_file() or (directory / "state.json").is_file():
        return [local_entry(str(path)) for path in _saved_files(source, directory)]
    name, revision = source.path, source.revision
    if not directory.exists():
        revision = HfApi().dataset_info(name, revision=revision).sha
        name = f"{name}@{revision}"
    try:
        stream, version = _open(source, source.path, revision)
    except (ValueError, FileNotFoundError) as error:  # the library's texts have several lines
        raise ValueError(" ".join(str(error).split())) from error
    count = stream.num_shards
    num_bytes = _split_bytes(stream, source)
    return [FileEntry(f"{name}#{index:05d}-of-{count:05d}", num_bytes // count, version) for index in range(count)]


def read_datasets(source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    """Yield the records of a shard as batches of schema ROWS.

    Locations are `shard#row`. Rules of broken records are those of `rows_of_columns`, and `corrupt_dataset` where the
    library cannot go on (the rest of the shard is lost; value: the row it stopped at).

    Raises:
        ValueError: no such dataset, configuration or split.
        OSError: the file is gone or the hub does not answer.
    """
    path = readable_path(part.path)
    row = 0
    try:
        for table in _tables(source, part.path):
            for batch in table.to_batches():
                for _, piece in pieces(batch, source):
                    end = row + piece.num_rows
                    yield rows_of_columns(piece, source, [f"{path}#{number}" for number in range(row, end)])
                    row = end
    except (pa.ArrowException, datasets.exceptions.DatasetGenerationError, UnicodeDecodeError) as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from error
        yield broken_row("corrupt_dataset", location=f"{path}#{row}", value=row)


def _tables(source: Source, path: str) -> Iterator[pa.Table]:
    shard = _SHARD.fullmatch(path)
    if shard is None:
        with open_path(path) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch])
        return
    stream, _ = _open(source, shard["name"], shard["revision"] or source.revision)
    count, index = int(shard["count"]), int(shard["index"])
    if stream.num_shards != count:
        raise OSError(f"{source.path} has {stream.num_shards} shards now, and had {count} when the plan was made")
    yield from stream.shard(num_shards=count, index=index).with_format("arrow").iter(batch_size=_BATCH_ROWS)


def _open(source: Source, name: str, revision: str | None) -> tuple[datasets.IterableDataset, str]:
    """Return the stream of the wanted split and what tells one version of the dataset from another."""
    builder = datasets.load_dataset_builder(name, name=source.config, revision=revision)
    return builder.as_streaming_dataset(split=source.split or "train"), str(builder.hash)


def _split_bytes(stream: datasets.IterableDataset, source: Source) -> int:
    splits: dict[str, Any] = stream.info.splits or {}
    split = splits.get(source.split or "train")
    return split.num_bytes or 0 if split else 0


def _saved_files(source: Source, directory: Path) -> list[Path]:
    if (directory / "dataset_dict.json").is_file():
        splits = json.loads((directory / "dataset_dict.json").read_bytes())["splits"]
        split = source.split or "train"
        if split not in splits:
            raise ValueError(f"{directory} has no split {split!r}, but {', '.join(splits)}")
        directory /= split
    files = json.loads((directory / "state.json").read_bytes())["_data_files"]
    return [directory / os.path.basename(file["filename"]) for file in files]  # noqa: PTH119
