"""What documents are compared by: their signatures, or the shingles of their text, both by dense index. No Beam.

Shapes: N documents, M of them asked for, K permutations, S shingles, P pieces (record batches).
"""

from collections.abc import Sequence
from itertools import accumulate
from math import ceil
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.fingerprint import exact_words, signature_rows
from transforms.kernels.likeness import distinct_shingles
from transforms.kernels.minhash import shingles
from transforms.kernels.rows import copy_rows
from transforms.kernels.strings import string_views
from transforms.kernels.words import word_table

SHINGLES = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),  # of the unit's signatures
        pa.field("shingles", pa.list_(pa.uint64()), nullable=False),  # distinct, ascending
    ]
)


class Compared(NamedTuple):
    """The arguments of the kernel `likeness` for M documents."""

    sig_MK: NDArray[np.uint32]
    starts_M1: NDArray[np.int64]
    shingle_S: NDArray[np.uint64]


class Evidence(Protocol):
    """Documents by dense index, and how alike two of them must be."""

    chunk: int  # documents whose evidence is in memory at once

    def compared(self, dense_M: NDArray[np.uint32]) -> Compared:
        """Return what is known of M documents, in any order and with repetitions."""

    def least(self, threshold: float) -> float:
        """Return the least value of `likeness` that meets `threshold`."""


NOTHING = Compared(np.empty((0, 0), np.uint32), np.empty(0, np.int64), np.empty(0, np.uint64))


class _Column:
    """Rows of fixed width by dense index, as they lie in the files (joining them would copy everything)."""

    def __init__(self, pieces: Sequence[tuple[int, NDArray[Any]]], num_words: int) -> None:
        self._pieces = [(first, rows.view(np.uint32)) for first, rows in pieces]  # kept: only addresses are looked at
        self._first_P = np.array([first for first, _ in self._pieces], np.int64)
        self._size_P = np.array([rows.size // max(1, num_words) for _, rows in self._pieces], np.int64)
        self._address_P = np.array([rows.ctypes.data for _, rows in self._pieces], np.uint64)
        self._num_words = num_words
        assert all(rows.flags.c_contiguous for _, rows in self._pieces)

    def rows(self, dense_M: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return uint32 [M, W]."""
        taken_MW = np.empty((len(dense_M), self._num_words), np.uint32)
        if len(dense_M) and self._num_words:
            places = (self._address_P, self._first_P, self._size_P)
            found = copy_rows(*places, dense_M, np.argsort(dense_M), taken_MW)
            assert found, "a document of no unit"
        return taken_MW


class SignatureRows:
    """Signatures of all units by dense index, in any order and with repetitions.

    Args:
        units: signatures of each unit (columns of `signatures/`), in memory or mapped.
        first_dense: dense index of the first document of each unit; a unit's documents follow each other.
    """

    chunk = 1 << 16  # 29 MB with 112 permutations

    def __init__(self, units: Sequence[pa.Table], first_dense: Sequence[int]) -> None:
        pieces: list[tuple[int, pa.RecordBatch]] = []
        for first, unit in zip(first_dense, units, strict=True):
            batches = [batch for batch in unit.to_batches() if batch.num_rows]
            pieces += zip(accumulate((batch.num_rows for batch in batches[:-1]), initial=first), batches, strict=False)
        pieces.sort(key=itemgetter(0))
        self._num_perm = units[0].schema.field("minhash").type.list_size if units else 0
        self._doc_id = _Column([(first, batch.column("doc_id").to_numpy()) for first, batch in pieces], 2)
        self._exact = _Column([(first, exact_words(batch.column("exact"))) for first, batch in pieces], 4)
        self._minhash = _Column(
            [(first, signature_rows(batch.column("minhash"))[0]) for first, batch in pieces], self._num_perm
        )

    def doc_id(self, dense_M: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return int64 [M]."""
        return self._doc_id.rows(dense_M).view(np.int64)[:, 0]

    def exact(self, dense_M: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """Return uint64 [M, 2], the two halves of the content hash."""
        return self._exact.rows(dense_M).view(np.uint64)

    def minhash(self, dense_M: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return uint32 [M, K]; a row is undefined where the document has no signature."""
        return self._minhash.rows(dense_M)

    def compared(self, dense_M: NDArray[np.uint32]) -> Compared:
        return NOTHING._replace(sig_MK=self.minhash(dense_M))

    def least(self, threshold: float) -> float:
        return (least_equal(threshold, self._num_perm) - 0.5) / max(1, self._num_perm)


class ShingleRows:
    """The distinct shingles of documents by dense index; a document that has none there is like nothing.

    Args:
        units: SHINGLES of each unit, in memory or mapped, ascending by row.
        first_dense: dense index of the first document of each unit.
    """

    chunk = 1 << 12  # 8 bytes a word: 23 MB at 700 words

    def __init__(self, units: Sequence[pa.Table], first_dense: Sequence[int]) -> None:
        self._dense: list[NDArray[np.int64]] = []
        self._starts: list[NDArray[np.int32]] = []
        self._shingle: list[NDArray[np.uint64]] = []
        batches = [
            (first, batch) for first, unit in zip(first_dense, units, strict=True) for batch in unit.to_batches()
        ]
        batches = [(first, batch) for first, batch in batches if batch.num_rows]
        for first, batch in sorted(batches, key=lambda item: item[0] + item[1].column("row")[0].as_py()):
            lists = batch.column("shingles")
            self._dense.append(batch.column("row").to_numpy().astype(np.int64) + first)
            self._starts.append(lists.offsets.to_numpy())
            self._shingle.append(lists.values.to_numpy())
        self._first_P = np.array([dense[0] for dense in self._dense], np.int64)

    def compared(self, dense_M: NDArray[np.uint32]) -> Compared:
        found: list[NDArray[np.uint64]] = []
        for dense, piece in zip(dense_M.tolist(), np.searchsorted(self._first_P, dense_M, "right") - 1, strict=True):
            found.append(self._of(dense, piece))
        starts_M1 = np.concatenate(([0], np.cumsum([len(own) for own in found]))).astype(np.int64)
        return NOTHING._replace(starts_M1=starts_M1, shingle_S=np.concatenate([*found, np.empty(0, np.uint64)]))

    def _of(self, dense: int, piece: int) -> NDArray[np.uint64]:
        if piece >= 0:
            row = int(np.searchsorted(self._dense[piece], dense))
            if row < len(self._dense[piece]) and self._dense[piece][row] == dense:
                return self._shingle[piece][self._starts[piece][row] : self._starts[piece][row + 1]]
        return np.empty(0, np.uint64)

    def least(self, threshold: float) -> float:
        return max(threshold - 1e-9, 1e-9)


def least_equal(threshold: float, num_perm: int) -> int:
    """Return how many of `num_perm` signature values must be equal for a similarity of `threshold`, at least 1."""
    return max(1, ceil(threshold * num_perm - 1e-9))


def shingle_rows(texts: pa.Array, row_N: NDArray[np.uint32], ngram: int) -> pa.RecordBatch:
    """Return SHINGLES of N texts (string); `row_N` are their rows in the unit's signatures."""
    offsets_N1, bytes_M = string_views(texts)
    num_bytes = int(offsets_N1[-1]) - int(offsets_N1[0])
    shingle_S, starts_N1 = np.empty((num_bytes + len(texts)) // 2, np.uint64), np.empty(len(texts) + 1, np.int64)
    shingles(offsets_N1, bytes_M, word_table(), ngram, shingle_S, starts_N1)
    distinct_N1 = np.empty_like(starts_N1)
    distinct_shingles(starts_N1, shingle_S, distinct_N1)
    values = pa.array(shingle_S[: distinct_N1[-1]])
    lists = pa.ListArray.from_arrays(pa.array(distinct_N1.astype(np.int32)), values)
    return pa.record_batch([pa.array(row_N), lists], schema=SHINGLES)
