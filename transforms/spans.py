"""Repeated spans of text: lines, paragraphs and long substrings, found by hash and cut from what is read. No Beam.

    texts of a group -- line_spans --> LINE_RUN                                         one task a group
    texts of a group -- anchor_spans --> ANCHOR_RUN -- repeated_anchors (a partition) --> ANCHOR
    the same texts, repeated anchors -- window_spans --> WINDOW_RUN                     one task a group
    partition p of line or window runs -- repeats --> REPEATS                           one task a partition
    REPEATS of some documents and their texts -- line_cuts, window_cuts --> CUTS
    texts, CUTS -- cut_texts --> texts

A repetition is what equals an earlier span, in the order of dense indices and then of the text. Nothing but hashes and
places leaves a unit. Shapes: N documents, S spans, E entries of runs.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.kernels.spans import anchors, cut_spans, first_of_equal, line_keys, windows
from transforms.kernels.strings import string_array, string_views
from transforms.kernels.words import word_table
from transforms.normalise import cleaned
from transforms.runs import buckets

_KEY = pa.field("key", pa.uint64(), nullable=False)
_CHECK = pa.field("check", pa.uint32(), nullable=False)
_START = pa.field("start", pa.uint32(), nullable=False)  # first byte in the text of its document
_STOP = pa.field("stop", pa.uint32(), nullable=False)
_ROW = pa.field("row", pa.uint32(), nullable=False)  # of the group's documents
_DENSE = pa.field("dense", pa.uint32(), nullable=False)

LINE_RUN = pa.schema([_KEY, _CHECK, _START, _STOP, _ROW])  # 24 bytes
ANCHOR_RUN = pa.schema([_KEY, _START, _ROW])  # 16 bytes
WINDOW_RUN = pa.schema([_KEY, _CHECK, _START, _ROW])  # 20 bytes
ANCHOR = pa.schema([_DENSE, _START])
REPEATS = pa.schema(
    [
        _DENSE,
        _START,
        _STOP,
        pa.field("twin", pa.uint32(), nullable=False),  # dense index of the document with the first of the equal spans
        pa.field("twin_start", pa.uint32(), nullable=False),
    ]
)
CUTS = pa.schema(
    [
        pa.field("doc_id", pa.int64(), nullable=False),  # ascending, then start
        _START,
        _STOP,
        pa.field("reason", pa.string(), nullable=False),  # lines | substrings
        pa.field("twin_id", pa.int64(), nullable=False),  # where the text stays
    ]
)

_HALF = np.uint64(32)
_LINE_FEED = 0x0A


def line_spans(texts: pa.Array, row_N: NDArray[np.uint32], *, paragraphs: bool, min_words: int) -> pa.Table:
    """Return LINE_RUN of N texts (string) in the order of the text; `row_N` are their rows in the group."""
    offsets_N1, bytes_M = string_views(texts)
    text_M = bytes_M[offsets_N1[0] : offsets_N1[-1]]
    size = len(texts) + np.count_nonzero(text_M == _LINE_FEED)
    key_S, columns = np.empty(size, np.uint64), [np.empty(size, np.uint32) for _ in range(4)]
    count = line_keys(offsets_N1, bytes_M, word_table(), paragraphs, min_words, key_S, *columns)
    columns[-1] = row_N[columns[-1][:count]]
    return pa.table([key_S[:count], *(column[:count] for column in columns)], schema=LINE_RUN)


def anchor_spans(texts: pa.Array, row_N: NDArray[np.uint32], *, length: int) -> pa.Table:
    """Return ANCHOR_RUN of N texts (string) for windows of `length` bytes."""
    offsets_N1, bytes_M = string_views(texts)
    size, scratch = _window_room(offsets_N1)
    key_S, start_S, row_S = np.empty(size, np.uint64), np.empty(size, np.uint32), np.empty(size, np.uint32)
    count = anchors(offsets_N1, bytes_M, length, *scratch, key_S, start_S, row_S)
    return pa.table([key_S[:count], start_S[:count], row_N[row_S[:count]]], schema=ANCHOR_RUN)


def window_spans(
    texts: pa.Array, row_N: NDArray[np.uint32], repeated_R: NDArray[np.uint64], *, length: int
) -> pa.Table:
    """Return WINDOW_RUN of N texts (string): every window whose anchor is repeated.

    Args:
        texts: N values.
        row_N: uint32, their rows in the group, ascending.
        repeated_R: uint64, ascending: row << 32 | start of repeated anchors, of other rows too.
        length: bytes of a window.
    """
    offsets_N1, bytes_M = string_views(texts)
    own_R = np.searchsorted(row_N, repeated_R >> _HALF)
    known_R = own_R < len(row_N)
    known_R[known_R] = row_N[own_R[known_R]] == repeated_R[known_R] >> _HALF
    here_R = own_R[known_R].astype(np.uint64) << _HALF | repeated_R[known_R] & np.uint64(0xFFFFFFFF)
    size, scratch = _window_room(offsets_N1)
    key_S, columns = np.empty(size, np.uint64), [np.empty(size, np.uint32) for _ in range(3)]
    count = windows(offsets_N1, bytes_M, length, here_R, *scratch, key_S, *columns)
    columns[-1] = row_N[columns[-1][:count]]
    return pa.table([key_S[:count], *(column[:count] for column in columns)], schema=WINDOW_RUN)


def _window_room(offsets_N1: NDArray[np.int32]) -> tuple[int, tuple[NDArray[np.uint32], NDArray[np.uint64]]]:
    longest = int(np.diff(offsets_N1).max(initial=0))
    return int(offsets_N1[-1] - offsets_N1[0]), (np.empty(longest, np.uint32), np.empty(longest, np.uint64))


def repeated_anchors(key_E: NDArray[np.uint64], start_E: NDArray[np.uint32], dense_E: NDArray[np.uint32]) -> pa.Table:
    """Return ANCHOR of the anchors of one partition that occur more than once, ascending."""
    _, entry_M = buckets(key_E, dense_E)
    place_M = np.sort(dense_E[entry_M].astype(np.uint64) << _HALF | start_E[entry_M])
    return pa.table([(place_M >> _HALF).astype(np.uint32), place_M.astype(np.uint32)], schema=ANCHOR)


Pieces = Iterator[tuple[range, list[NDArray[Any]]]]


def repeats_by_piece(
    pieces: Callable[[], Pieces], find: Callable[[list[NDArray[Any]]], pa.Table], *, keep: int, checked: bool
) -> Iterator[pa.Table]:
    """Yield what `find` returns for one partition, piece by piece: a line may stand on every page of a corpus.

    Beside its own entries a piece needs the first few of each hash; no more is held of the others. So memory is that of
    a piece and of the different hashes, which spread evenly over partitions where their places do not.

    Args:
        pieces: returns the columns of the entries, the hash first and the document's dense index last, of documents in
            ascending order, with the dense indices of each piece; called twice more if there are several.
        find: `repeats` or `repeated_anchors` with its options.
        keep: of `repeats`.
        checked: the second column is a check.
    """
    first, *more = itertools.islice(pieces(), 2)
    if not more:
        yield find(first[1])
        return
    stay: list[NDArray[Any]] = [np.empty(0, column.dtype) for column in first[1]]
    del first, more
    for _, columns in pieces():
        joined = [np.concatenate(both) for both in zip(stay, columns, strict=True)]
        stay_E = _first_places(joined[0], joined[1] if checked else joined[0], max(2, keep))
        stay = [column[stay_E] for column in joined]
    for dense, columns in pieces():
        before_E, behind_E = stay[-1] < dense.start, stay[-1] >= dense.stop
        joined = [
            np.concatenate((known[before_E], own, known[behind_E])) for known, own in zip(stay, columns, strict=True)
        ]
        found = find(joined)
        start, stop = np.searchsorted(found.column("dense").to_numpy(), [dense.start, dense.stop])
        yield found.slice(start, stop - start)


def _first_places(key_E: NDArray[np.uint64], check_E: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Return the entries among the first `most` of their key, ascending; another check than the first's is left out.

    Entries of equal keys come in the order of the text.
    """
    order_E = np.argsort(key_E, kind="stable")
    sorted_E = key_E[order_E]
    new_E = np.ones(len(order_E), np.bool_)
    new_E[1:] = sorted_E[1:] != sorted_E[:-1]
    first_E = np.flatnonzero(new_E)[np.cumsum(new_E) - 1]
    equal_E = check_E[order_E] == check_E[order_E[first_E]]
    before_E1 = np.concatenate(([0], np.cumsum(equal_E)))
    return np.sort(order_E[equal_E & (before_E1[:-1] - before_E1[first_E] < most)])


def repeats(
    key_E: NDArray[np.uint64],
    check_E: NDArray[np.uint32],
    start_E: NDArray[np.uint32],
    stop_E: NDArray[np.uint32],
    dense_E: NDArray[np.uint32],
    *,
    keep: int,
) -> pa.Table:
    """Return REPEATS of one partition: of the spans with equal hashes all but the first `keep`, ascending.

    The runs may come in any order of units. At most 60 bytes an entry; see `repeats_by_piece`.
    """
    offsets_B1, entry_M = buckets(key_E, dense_E)
    first_M = np.empty(len(entry_M), np.int64)
    first_of_equal(offsets_B1, check_E[entry_M], keep, first_M)
    cut_M = first_M >= 0
    own_S, twin_S = entry_M[cut_M], entry_M[first_M[cut_M]]
    order_S = np.argsort(dense_E[own_S].astype(np.uint64) << _HALF | start_E[own_S])
    own_S, twin_S = own_S[order_S], twin_S[order_S]
    columns = [dense_E[own_S], start_E[own_S], stop_E[own_S], dense_E[twin_S], start_E[twin_S]]
    return pa.table(columns, schema=REPEATS)


def window_cuts(
    repeated: pa.Table, texts: pa.Array, first_dense: int, *, length: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return `(row_S, start_S, stop_S, twin_S)`: repeated windows of N texts joined to spans of whole characters.

    Args:
        repeated: REPEATS of windows of these documents, ascending.
        texts: N texts (string).
        first_dense: dense index of the first of them.
        length: bytes of a window.

    Where a window overlaps the one that it repeats, what they share stays: of a row of dots `length` ones do.
    """
    dense_W, start_W, stop_W, twin_W, twin_start_W = (column.to_numpy() for column in repeated.columns)
    if not len(dense_W):
        return np.empty(0, np.int64), start_W, stop_W, twin_W
    inner_W = twin_W == dense_W
    start_W = np.where(inner_W, np.maximum(start_W, twin_start_W + np.uint32(length)), start_W)
    # Stops ascend, but a start that was moved may lie behind a later one. That window covers this: take its start.
    place_W = dense_W.astype(np.uint64) << np.uint64(32) | start_W
    start_W = np.minimum.accumulate(place_W[::-1])[::-1].astype(np.uint32)
    new_W = np.ones(len(dense_W), np.bool_)
    new_W[1:] = (dense_W[1:] != dense_W[:-1]) | (start_W[1:] > stop_W[:-1])
    first_S = np.flatnonzero(new_W)
    last_S = np.append(first_S[1:], len(dense_W)) - 1
    row_S = dense_W[first_S].astype(np.int64) - first_dense
    start_S, stop_S = start_W[first_S].astype(np.int64), stop_W[last_S].astype(np.int64)
    offsets_N1, bytes_M = string_views(texts)
    padded_M = np.append(bytes_M[: offsets_N1[-1]], np.uint8(0))
    base_S = offsets_N1[row_S].astype(np.int64)
    for _ in range(3):  # a character has at most three bytes behind its first
        start_S += padded_M[base_S + start_S] & 0xC0 == 0x80
        stop_S -= (padded_M[base_S + stop_S] & 0xC0 == 0x80) & (base_S + stop_S < offsets_N1[row_S + 1])
    return row_S, start_S.astype(np.uint32), stop_S.astype(np.uint32), twin_W[first_S]


def cut_texts(
    texts: pa.Array, row_S: NDArray[np.int64], start_S: NDArray[np.uint32], stop_S: NDArray[np.uint32]
) -> pa.Array:
    """Return N texts without spans of bytes, and without the white space that is left over at ends and between lines.

    Args:
        texts: N values (string).
        row_S: int64, the text of each span, ascending.
        start_S: uint32, first byte, ascending within a text; spans may overlap.
        stop_S: uint32, behind the last byte.
    """
    if not len(row_S):
        return texts
    offsets_N1, bytes_M = string_views(texts)
    out_offsets_N1, out_M = np.empty_like(offsets_N1), np.empty(int(offsets_N1[-1]) - int(offsets_N1[0]), np.uint8)
    cut_spans(offsets_N1, bytes_M, row_S, start_S, stop_S, out_offsets_N1, out_M)
    as_is_N = np.ones(len(texts), np.bool_)
    as_is_N[row_S] = False
    return cleaned(string_array(out_offsets_N1, out_M), as_is_N=as_is_N)
