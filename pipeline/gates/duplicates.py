"""Gate: the share of surviving documents that repeat another one, measured again by their signatures.

Nothing of the dedup stage is used but the deletions: keys are hashed and sorted here by numpy, band by band.

Shapes: N surviving documents, C candidates.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.gates.verdict import Example, Verdict
from pipeline.output import Output
from transforms.commit import map_table
from transforms.evidence import SignatureRows, least_equal, shingle_rows
from transforms.fingerprint import exact_words, signature_rows

GATE = "duplicates_left"
_MOST_ENTRIES = 1 << 24  # keys in memory; of more documents only those of a share of all keys are compared
_CHUNK = 1 << 12  # pairs, whose texts are in memory with verify: jaccard
_NEIGHBOURS = 4  # before a document in its bucket that it is compared with, and the first


def duplicates_left(output: Output, limit: float) -> Iterator[Verdict]:
    """Yield the share of survivors that are the copy, or near-copy at the configured threshold, of another survivor."""
    if not output.has("dedup"):
        yield Verdict.not_measured(GATE, "dedup has not run")
        return
    records = output.records("clean")
    tables = [map_table(output.out, record, "signatures") for record in records.values()]
    first_dense = np.cumsum([0, *(table.num_rows for table in tables)])
    alive_N = np.ones(int(first_dense[-1]), np.bool_)
    for unit, table, first in zip(records, tables, first_dense.tolist(), strict=False):
        ids_n = table.column("doc_id").to_numpy()
        alive_N[first : first + len(ids_n)] = ~np.isin(ids_n, output.deleted(unit), assume_unique=True)
    num_alive = int(alive_N.sum())
    if not num_alive:
        yield Verdict.not_measured(GATE, "no document survived")
        return
    parts = -(-num_alive // _MOST_ENTRIES)
    rows = SignatureRows(tables, first_dense[:-1].tolist())
    chunks = [(chunk, start) for table, first in zip(tables, first_dense.tolist(), strict=False)
              for chunk, start in _batches(table, first)]  # fmt: skip
    twin_N = np.full(len(alive_N), -1, np.int64)  # of a repeated document: the one before it
    _exact(chunks, alive_N, parts, twin_N)
    minhash = output.config["dedup"]["minhash"]
    if minhash is not None:
        _near(chunks, alive_N, parts, minhash, _Comparison(output, rows, minhash), twin_N)
    found = np.flatnonzero(twin_N >= 0)
    value = len(found) / num_alive
    shown = _examples(output, rows, found) if value > limit else ()
    what = f"{len(found):,} of {num_alive:,} surviving documents repeat another"
    what += "" if minhash is not None else " exactly (dedup.minhash is off)"
    what += "" if parts == 1 else f"; only one in {parts} keys was compared"
    yield Verdict.at_most(GATE, value, limit, what, examples=shown)


def _batches(table: pa.Table, first: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    for batch in table.to_batches():
        yield batch, first
        first += batch.num_rows


def _exact(chunks: list[tuple[pa.RecordBatch, int]], alive_N: Any, parts: int, twin_N: NDArray[np.int64]) -> None:
    hashes, dense = [np.zeros((0, 2), np.uint64)], [np.zeros(0, np.int64)]
    for batch, first in chunks:
        words_n2 = exact_words(batch.column("exact"))
        chosen_n = alive_N[first : first + batch.num_rows] & (words_n2[:, 0] % np.uint64(parts) == 0)
        hashes.append(words_n2[chosen_n])
        dense.append(np.flatnonzero(chosen_n) + first)
    words_C2, dense_C = np.concatenate(hashes), np.concatenate(dense)
    order_C = np.lexsort((dense_C, words_C2[:, 1], words_C2[:, 0]))
    words_C2, dense_C = words_C2[order_C], dense_C[order_C]
    same = np.flatnonzero((words_C2[1:] == words_C2[:-1]).all(axis=1))
    twin_N[dense_C[same + 1]] = dense_C[same]


def _near(
    chunks: list[tuple[pa.RecordBatch, int]],
    alive_N: Any,
    parts: int,
    minhash: dict[str, Any],
    comparison: "_Comparison",
    twin_N: NDArray[np.int64],
) -> None:
    bands, width = minhash["bands"], minhash["rows"]
    factors = (np.arange(width, dtype=np.uint64) * np.uint64(2) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for band in range(bands):
        keys, dense = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for batch, first in chunks:
            sig_nK, signed_n = signature_rows(batch.column("minhash"))
            key_n = (sig_nK[:, band * width : (band + 1) * width].astype(np.uint64) * factors).sum(
                axis=1, dtype=np.uint64
            )
            mixed_n = (key_n ^ (key_n >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
            chosen_n = alive_N[first : first + batch.num_rows] & signed_n & (mixed_n % np.uint64(parts) == 0)
            keys.append(mixed_n[chosen_n])
            dense.append(np.flatnonzero(chosen_n) + first)
        key_C, dense_C = np.concatenate(keys), np.concatenate(dense)
        order_C = np.argsort(key_C, kind="stable")
        key_C, dense_C = key_C[order_C], dense_C[order_C]
        same_C = np.zeros(len(key_C), np.bool_)
        same_C[1:] = key_C[1:] == key_C[:-1]
        start_C = np.maximum.accumulate(np.where(same_C, 0, np.arange(len(key_C))))  # first of the bucket
        place = np.flatnonzero(same_C)
        for back in range(1, _NEIGHBOURS + 1):
            near = place[place - back > start_C[place]]
            comparison.note(dense_C[near], dense_C[near - back], twin_N)
        comparison.note(dense_C[place], dense_C[start_C[place]], twin_N)


class _Comparison:
    """Compares candidates as the stage is configured to: by their signatures, and by their texts if it verified so."""

    def __init__(self, output: Output, rows: SignatureRows, minhash: dict[str, Any]) -> None:
        self._output, self._rows, self._minhash = output, rows, minhash
        self._least = least_equal(minhash["threshold"], minhash["bands"] * minhash["rows"])
        self._refused: set[tuple[int, int]] = set()  # several bands find the same pair

    def note(self, a_L: NDArray[np.int64], b_L: NDArray[np.int64], twin_N: NDArray[np.int64]) -> None:
        """Note the smaller document as the twin of the larger one wherever they are near-duplicates.

        A pair that is none leaves the document to its other candidates.
        """
        for start in range(0, len(a_L), _CHUNK):
            a_l, b_l = a_L[start : start + _CHUNK], b_L[start : start + _CHUNK]
            new = twin_N[a_l] < 0
            a_l, b_l = a_l[new], b_l[new]
            sig_a, sig_b = (self._rows.minhash(dense_l.astype(np.uint32)) for dense_l in (a_l, b_l))
            near = (sig_a == sig_b).sum(axis=1) >= self._least
            a_l, b_l = a_l[near], b_l[near]
            if self._minhash["verify"] == "jaccard":
                true = self._have_similar_texts(a_l, b_l)
                a_l, b_l = a_l[true], b_l[true]
            twin_N[a_l] = b_l

    def _have_similar_texts(self, a_L: NDArray[np.int64], b_L: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the Jaccard similarity of each pair reaches the threshold: the estimate is often above it."""
        pairs = list(zip(a_L.tolist(), b_L.tolist(), strict=True))
        true = np.array([pair not in self._refused for pair in pairs], np.bool_)
        dense = sorted({dense for pair, asked in zip(pairs, true, strict=True) if asked for dense in pair})
        if not dense:
            return true
        ids = self._rows.doc_id(np.array(dense, np.uint32)).tolist()
        found = self._output.find(ids)
        texts = pa.array([found[doc_id]["text"] for doc_id in ids], pa.string())
        lists = shingle_rows(texts, np.arange(len(ids), dtype=np.uint32), self._minhash["ngram"]).column("shingles")
        at = {number: place for place, number in enumerate(dense)}
        for place, (a, b) in enumerate(pairs):
            if true[place]:
                one, other = (set(lists[at[number]].as_py()) for number in (a, b))
                equal = texts[at[a]] == texts[at[b]]
                true[place] = equal or len(one & other) >= self._minhash["threshold"] * len(one | other)
                if not true[place]:
                    self._refused.add((a, b))
        return true


def _examples(output: Output, rows: SignatureRows, found: NDArray[np.int64]) -> tuple[Example, ...]:
    ids = rows.doc_id(found[:3].astype(np.uint32)).tolist()
    documents = output.find(ids)
    return tuple(Example(doc_id, documents[doc_id]["url"]) for doc_id in ids)
