"""Labelled texts for fine-tuning: JSONL, CSV or Parquet with one or two columns of text."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


class Labelled(NamedTuple):
    """Examples in file order.

    Attributes:
        texts: the first text of each.
        others: the second text of each, empty strings where there is only one.
        labels: the label of each, as a string.
    """

    texts: list[str]
    others: list[str]
    labels: list[str]


def read_labelled(path: Path, *, text: str = "text", other: str | None = None, label: str = "label") -> Labelled:
    """Return the examples of a `.jsonl`, `.csv`, `.tsv` (each also `.gz` or `.zst`) or `.parquet` file.

    Args:
        path: of the file.
        text: column of the (first) text.
        other: column of the second text, for pairs.
        label: column of the label; numbers and strings alike are taken as names.

    Raises:
        ValueError: another suffix, no rows, a missing column, or an empty text or label; the message names the row.
    """
    return collect_labelled(_rows(path), str(path), text=text, other=other, label=label)


def collect_labelled(
    rows: Iterable[dict[str, Any]], source: str, *, text: str = "text", other: str | None = None, label: str = "label"
) -> Labelled:
    """Return the examples of `rows`; `source` is what a mistake is told of, the rest as in `read_labelled`.

    Raises:
        ValueError: no rows, or a row without one of the columns.
    """
    columns = [text, *([other] if other else []), label]
    values: dict[str, list[str]] = {column: [] for column in columns}
    for number, row in enumerate(rows, 1):
        for column in columns:
            if row.get(column) is None:
                raise ValueError(f"{source}: row {number} has no {column!r} (its columns: {', '.join(map(str, row))})")
            values[column].append(str(row[column]))
    if not values[text]:
        raise ValueError(f"{source}: no rows")
    return Labelled(values[text], values[other] if other else [""] * len(values[text]), values[label])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    suffix = path.suffixes[-2] if path.suffix in _COMPRESSION and len(path.suffixes) > 1 else path.suffix
    if suffix == ".parquet":
        yield from pq.read_table(path).to_pylist()
        return
    if suffix not in (".jsonl", ".csv", ".tsv"):
        raise ValueError(f"{path}: labelled texts are read from .jsonl, .csv, .tsv and .parquet, not from {suffix!r}")
    with pa.input_stream(str(path), compression=_COMPRESSION.get(path.suffix)) as stream:
        lines = stream.read().decode("utf-8-sig").splitlines(keepends=True)
    if suffix == ".jsonl":
        yield from (json.loads(line) for line in lines if line.strip())
    else:
        yield from csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ",")
