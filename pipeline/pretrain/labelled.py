"""Labelled texts for fine-tuning: JSONL, CSV or Parquet with one or two columns of text."""

import csv
import io
import json
import math
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
        label: column of the label; whole numbers and strings alike are taken as names, 1 and 1.0 as one.

    Raises:
        ValueError: another suffix, a file that cannot be read, no rows, a row that is none, a missing column or value,
            a list of values, or a label that is empty or a fraction; the message names file and row.
    """
    return collect_labelled(_rows(path), str(path), text=text, other=other, label=label)


def collect_labelled(
    rows: Iterable[dict[str, Any]], source: str, *, text: str = "text", other: str | None = None, label: str = "label"
) -> Labelled:
    """Return the examples of `rows`; `source` is what a mistake is told of, the rest as in `read_labelled`.

    Raises:
        ValueError: no rows, a row without one of the columns, with a list there, or a label that is none.
    """
    columns = [text, *([other] if other else []), label]
    values: dict[str, list[str]] = {column: [] for column in columns}
    for number, row in enumerate(rows, 1):
        for column in columns:
            value = row.get(column)
            if value is None or (isinstance(value, float) and math.isnan(value)):  # as pandas writes what is missing
                raise ValueError(f"{source}: row {number} has no {column!r} (its columns: {', '.join(map(str, row))})")
            if isinstance(value, list | dict):
                found = f"more than one value as {column!r} ({str(value)[:40]})"
                raise ValueError(f"{source}: row {number} has {found}")  # noqa: TRY004 - of a file, not of a type
            if isinstance(value, float) and value.is_integer():  # as Parquet has whole numbers of a column with gaps
                value = int(value)
            if column == label and isinstance(value, float):
                raise ValueError(f"{source}: row {number} has the label {value}, which is no class but a measure")
            values[column].append(str(value))
        if not values[label][-1].strip():  # an empty text is one, and corpora hold some
            raise ValueError(f"{source}: row {number} has an empty {label!r}")
    if not values[text]:
        raise ValueError(f"{source}: no rows")
    return Labelled(values[text], values[other] if other else [""] * len(values[text]), values[label])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file.

    Raises:
        ValueError: it cannot be read, or a row is not what its suffix says; the message names file and row.
    """
    suffix = path.suffixes[-2] if path.suffix in _COMPRESSION and len(path.suffixes) > 1 else path.suffix
    if suffix not in (".jsonl", ".csv", ".tsv", ".parquet"):
        raise ValueError(f"{path}: labelled texts are read from .jsonl, .csv, .tsv and .parquet, not from {suffix!r}")
    if path.is_dir():
        raise ValueError(f"{path}: a directory; labelled texts are read from one file")
    try:
        if suffix == ".parquet":
            yield from pq.read_table(path).to_pylist()
            return
        with pa.input_stream(str(path), compression=_COMPRESSION.get(path.suffix)) as stream:
            data = stream.read()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}: line {row} is not UTF-8 (byte 0x{data[error.start]:02x})") from None
    yield from _json_rows(path, text) if suffix == ".jsonl" else _csv_rows(path, text, suffix)


def _json_rows(path: Path, text: str) -> Iterator[dict[str, Any]]:
    # Not splitlines(), which cuts at U+2028 and others, all of them valid within a JSON string.
    for number, line in enumerate((line for line in text.split("\n") if line.strip()), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: row {number} is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(  # noqa: TRY004 - of a file, not of a type
                f"{path}: row {number} is no JSON object with columns, but {line.strip()[:40]}"
            )
        yield row


_MAX_FIELD = 1 << 30  # csv's own limit of 128 Ki characters is less than a book


def _csv_rows(path: Path, text: str, suffix: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if suffix == ".tsv" else ",")
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num + 1}: {error}") from None
