"""The URL of a page as a duplicate key, and when the page was fetched. No Beam.

The normal form is that of C4 (TFDS 3.1.0): `http://` and `https://` with a `www.` behind them are deleted wherever they
stand, everything from `?utm_`, `?ref` or `?feed` on, and slashes at the end. Among pages of one URL the newest is kept.
"""

import re
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.fingerprint import exact_hash, exact_words

URL_RUN = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("check", pa.uint64(), nullable=False),  # the other half of the 128-bit hash
        pa.field("time", pa.int64(), nullable=False),  # digits of the timestamp, -1 = none
        pa.field("row", pa.uint32(), nullable=False),  # of the unit's documents
    ]
)

_TIME_KEYS = ("timestamp", "date", "warc_date")  # of the metadata, the first one there wins
_TIME_DIGITS = 14  # YYYYMMDDhhmmss
_NOT_DIGITS = re.compile(r"[^0-9]+|\..*")  # of fractions of a second too


def normalised_urls(urls: pa.Array) -> pa.Array:
    """Return the normal form of each of N URLs (string); null or empty: the document has none."""
    bare = pc.replace_substring_regex(urls, r"https?://(www\.)?", "")
    bare = pc.replace_substring_regex(bare, r"(?s)\?(utm_|ref|feed).*", "")
    return pc.utf8_rtrim(bare, "/")


def lower_host(urls: pa.Array) -> pa.Array:
    """Return N addresses (string) with scheme and host, which have no case, in small letters; null stays null.

    Not part of the normal form of duplicates, which is that of C4.
    """
    parts = pc.extract_regex(urls, r"(?s)^(?P<host>(?:[A-Za-z][A-Za-z0-9+.-]*://)?[^/?#]*)(?P<rest>.*)$")
    return pc.binary_join_element_wise(
        pc.ascii_lower(pc.struct_field(parts, "host")), pc.struct_field(parts, "rest"), ""
    )


def timestamps(metadata: pa.Array) -> NDArray[np.int64]:
    """Return int64 [N]: the timestamp in each JSON object as its first fourteen digits, -1 where there is none.

    Equal formats compare as their strings do, and 2021-01-01T00:00:00Z equals 20210101000000; zones are not looked at.
    """
    return np.array([_timestamp(value) for value in metadata.to_pylist()], np.int64)


def _timestamp(metadata: str | None) -> int:
    if metadata is None:
        return -1
    try:
        fields: Any = orjson.loads(metadata)
    except orjson.JSONDecodeError:  # nested too deep for it
        return -1
    if not isinstance(fields, dict):
        return -1
    value = next((fields[key] for key in _TIME_KEYS if fields.get(key) is not None), None)
    digits = _NOT_DIGITS.sub("", str(value))[:_TIME_DIGITS] if isinstance(value, str | int | float) else ""
    return int(digits.ljust(_TIME_DIGITS, "0")) if digits else -1


def url_rows(urls: pa.Array, metadata: pa.Array, first_row: int) -> pa.Table:
    """Return URL_RUN of N documents in their order; those without a URL have no entry."""
    normal = normalised_urls(urls)
    has = pc.fill_null(pc.not_equal(normal, ""), False)
    row_D = np.flatnonzero(has.to_numpy(zero_copy_only=False))
    exact_D2 = exact_words(exact_hash(normal.filter(has)))
    columns = [exact_D2[:, 0], exact_D2[:, 1], timestamps(metadata.filter(has)), (row_D + first_row).astype(np.uint32)]
    return pa.table([np.ascontiguousarray(column) for column in columns], schema=URL_RUN)


def newest(
    key_E: NDArray[np.uint64],
    check_E: NDArray[np.uint64],
    time_E: NDArray[np.int64],
    dense_E: NDArray[np.uint32],
    level_E: NDArray[np.int64],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return `(older_L, kept_L)` (uint32): every document that another page of its URL replaces, and that page.

    Args:
        key_E: uint64, one half of the hash of a normalised URL.
        check_E: uint64, the other half.
        time_E: int64, see `timestamps`.
        dense_E: uint32, dense index of the document.
        level_E: int64, rank of its source; the smallest is kept, then the newest, then the smallest dense index.
    """
    order_E = np.lexsort((dense_E, -time_E, level_E, check_E, key_E))
    key_E, check_E, dense_E = key_E[order_E], check_E[order_E], dense_E[order_E]
    first_E = np.ones(len(key_E), np.bool_)
    first_E[1:] = (key_E[1:] != key_E[:-1]) | (check_E[1:] != check_E[:-1])
    kept_E = dense_E[np.flatnonzero(first_E)[np.cumsum(first_E) - 1]] if len(dense_E) else dense_E
    return dense_E[~first_E], kept_E[~first_E]
