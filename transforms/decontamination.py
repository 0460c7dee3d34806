"""Overlap with evaluation sets: the n-grams of words that a document shares with each example. No Beam.

Both sides are cut into words by the same scan (lower case, punctuation separates), so an example is found whatever its
case, spacing and punctuation. An example shorter than an n-gram cannot be found; the report says how many n-grams each
one has. Brown et al., "Language Models are Few-Shot Learners", 2020, appendix C (13 words).

Shapes: N texts, S n-grams of them, G n-grams of examples, H hits.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.evidence import shingle_rows

NGRAMS = pa.schema([pa.field("hash", pa.uint64(), nullable=False), pa.field("example", pa.uint32(), nullable=False)])
EXAMPLES = pa.schema(
    [
        pa.field("set", pa.string(), nullable=False),
        pa.field("example", pa.int64(), nullable=False),  # record of the set, from 0
        pa.field("location", pa.string(), nullable=False),
        pa.field("ngrams", pa.uint32(), nullable=False),  # different ones; 0 = too short to be found
    ]
)
CONTAMINATED = pa.schema(
    [
        pa.field("doc_id", pa.int64(), nullable=False),
        pa.field("example", pa.uint32(), nullable=False),  # row of EXAMPLES
        pa.field("shared", pa.uint32(), nullable=False),  # different n-grams in both
        pa.field("share", pa.float32(), nullable=False),  # of the example's n-grams
    ]
)


class NgramIndex(NamedTuple):
    """The n-grams of all examples, ascending by hash, and a table that rules most others out with one look."""

    hash_G: NDArray[np.uint64]
    example_G: NDArray[np.uint32]
    seen: NDArray[np.bool_]  # by the lower bits of a hash


def ngram_table(texts: pa.Array, first_example: int, ngram: int) -> tuple[pa.Table, NDArray[np.uint32]]:
    """Return NGRAMS of N examples, and uint32 [N]: how many different n-grams each has."""
    rows = np.arange(first_example, first_example + len(texts), dtype=np.uint32)
    lists = shingle_rows(texts, rows, ngram).column("shingles")
    count_N = np.diff(lists.offsets.to_numpy()).astype(np.uint32)
    return pa.table([lists.values.to_numpy(), np.repeat(rows, count_N)], schema=NGRAMS), count_N


def ngram_index(ngrams: pa.Table) -> NgramIndex:
    """Return the index of all examples; 12 bytes an n-gram and 16 to 32 for the table."""
    hash_G, example_G = (ngrams.column(name).to_numpy() for name in NGRAMS.names)
    order_G = np.lexsort((example_G, hash_G))
    seen = np.zeros(1 << max(10, len(hash_G).bit_length() + 4), np.bool_)
    seen[hash_G & np.uint64(len(seen) - 1)] = True
    return NgramIndex(hash_G[order_G], example_G[order_G], seen)


def overlaps(
    texts: pa.Array, index: NgramIndex, ngram: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return `(row_H, example_H, shared_H)`: every text and example that share n-grams, and how many different ones.

    Args:
        texts: N values (string).
        index: from `ngram_index`, made with the same `ngram`.
        ngram: words in an n-gram.
    """
    lists = shingle_rows(texts, np.arange(len(texts), dtype=np.uint32), ngram).column("shingles")
    hash_S = lists.values.to_numpy()
    candidate_s = np.flatnonzero(index.seen[hash_S & np.uint64(len(index.seen) - 1)])
    start_s, stop_s = (np.searchsorted(index.hash_G, hash_S[candidate_s], side=side) for side in ("left", "right"))
    count_s = stop_s - start_s
    row_h = np.repeat(np.searchsorted(lists.offsets.to_numpy(), candidate_s, side="right") - 1, count_s)
    within_h = np.arange(len(row_h)) - np.repeat(np.cumsum(count_s) - count_s, count_s)
    example_h = index.example_G[np.repeat(start_s, count_s) + within_h]
    pair_H, shared_H = np.unique(row_h.astype(np.uint64) << np.uint64(32) | example_h, return_counts=True)
    row_H, example_H = (pair_H >> np.uint64(32)).astype(np.int64), pair_H.astype(np.uint32)
    return row_H, example_H, shared_H.astype(np.uint32)


def worst(found: pa.Table) -> pa.Table:
    """Return of CONTAMINATED one row for every document: the greatest share, then the first example."""
    doc_id_H, share_H, example_H = (found.column(name).to_numpy() for name in ("doc_id", "share", "example"))
    order_H = np.lexsort((example_H, -share_H, doc_id_H))
    sorted_H = doc_id_H[order_H]
    first_H = np.ones(len(sorted_H), np.bool_)
    first_H[1:] = sorted_H[1:] != sorted_H[:-1]
    return found.take(pa.array(order_H[first_H]))
