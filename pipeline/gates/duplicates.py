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
_CHUNK = 1 << 16


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
        _near(chunks, alive_N, parts, minhash, rows, twin_N)
        if minhash["verify"] == "jaccard":
            _keep_true(output, rows, minhash, twin_N)
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
    rows: SignatureRows,
    twin_N: NDArray[np.int64],
) -> None:
    bands, width = minhash["bands"], minhash["rows"]
    least = least_equal(minhash["threshold"], bands * width)
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
        for other in (place - 1, start_C[place]):
            _compare(rows, dense_C[place], dense_C[other], least, twin_N)


def _compare(
    rows: SignatureRows, a_L: NDArray[np.int64], b_L: NDArray[np.int64], least: int, twin_N: NDArray[np.int64]
) -> None:
    """Note the smaller document as the twin of the larger one wherever enough signature values are equal."""
    for start in range(0, len(a_L), _CHUNK):
        a_l, b_l = a_L[start : start + _CHUNK], b_L[start : start + _CHUNK]
        new = twin_N[a_l] < 0
        a_l, b_l = a_l[new], b_l[new]
        equal_l = (rows.minhash(a_l.astype(np.uint32)) == rows.minhash(b_l.astype(np.uint32))).sum(axis=1)
        twin_N[a_l[equal_l >= least]] = b_l[equal_l >= least]


def _keep_true(output: Output, rows: SignatureRows, minhash: dict[str, Any], twin_N: NDArray[np.int64]) -> None:
    """Forget pairs whose Jaccard similarity is below the threshold: the stage verified by it, not by the estimate."""
    for dense in np.flatnonzero(twin_N >= 0).tolist():
        pair = rows.doc_id(np.array([dense, twin_N[dense]], np.uint32)).tolist()
        found = output.find(pair)
        texts = pa.array([found[doc_id]["text"] for doc_id in pair], pa.string())
        lists = shingle_rows(texts, np.arange(2, dtype=np.uint32), minhash["ngram"]).column("shingles")
        one, other = (set(shingles) for shingles in lists.to_pylist())
        if texts[0] != texts[1] and len(one & other) < minhash["threshold"] * len(one | other):
            twin_N[dense] = -1


def _examples(output: Output, rows: SignatureRows, found: NDArray[np.int64]) -> tuple[Example, ...]:
    ids = rows.doc_id(found[:3].astype(np.uint32)).tolist()
    documents = output.find(ids)
    return tuple(Example(doc_id, documents[doc_id]["url"]) for doc_id in ids)
