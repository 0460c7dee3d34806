"""Gate: the share of surviving documents that repeat another one, measured again by their signatures.

Nothing of the dedup stage is used but the deletions: keys are hashed and sorted here by numpy, band by band.

Shapes: N documents, C keys of one pass, L pairs, M documents of them, K permutations, U units, W words of a key.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.gates.verdict import Example, Verdict
from pipeline.output import Output
from transforms.committed import map_table
from transforms.evidence import SignatureRows, least_equal, shingle_rows
from transforms.fingerprint import exact_words, signature_rows

GATE = "duplicates_left"
_MOST_KEYS = 1 << 24  # sorted at once; of more documents each pass sorts a share of all keys
# Words of keys in memory at once, 1.6 GB with the places of their documents: so many passes share a scan of the
# signatures. A scan for each took 15.3 instead of 5.7 us a document in 15 passes, and read the 118 GB of 250 million
# documents 225 times instead of 32.
_MOST_HELD = 1 << 27
_MOST_MAPS = 1 << 14  # units mapped at once: Linux refuses the 65,530th map of a process
_CHUNK = 1 << 17  # pairs whose signatures are in memory: 117 MB with 112 permutations
_NEIGHBOURS = 4  # before a document in its bucket that it is compared with, and the first
_MOST_DRAWN = 1 << 14  # documents whose texts are read with verify: jaccard; of a share of one half it is 0.4% off
_MOST_PAIRS = 1 << 22
_MOST_SHINGLES = 1 << 25  # of those texts: 256 MiB

_Keys = Callable[[pa.RecordBatch], tuple[NDArray[np.uint64], NDArray[np.bool_]]]


def duplicates_left(output: Output, limit: float) -> Iterator[Verdict]:
    """Yield the share of survivors that are the copy, or near-copy at the configured threshold, of another survivor."""
    if not output.has("dedup"):
        yield Verdict.not_measured(GATE, "dedup has not run")
        return
    signed = _Signatures(output)
    num_alive = int(np.count_nonzero(signed.alive_N))
    if not num_alive:
        yield Verdict.not_measured(GATE, "no document survived")
        return
    repeats_N = np.zeros(len(signed.alive_N), np.bool_)
    for dense_C, same_C in _buckets(signed, _exact_keys, 2):
        repeats_N[dense_C[same_C]] = True
    minhash, found, estimated = output.config["dedup"]["minhash"], 0, ""
    if minhash is not None:
        likely = _Likely(len(repeats_N))
        _near(signed, minhash, repeats_N, likely)
        found, estimated = likely.verified(output, signed, minhash, repeats_N)
    found += int(np.count_nonzero(repeats_N))
    value = found / num_alive
    shown = _examples(output, signed, np.flatnonzero(repeats_N)[:3]) if value > limit else ()
    what = f"{found:,} of {num_alive:,} surviving documents repeat another"
    what += "" if minhash is not None else " exactly (dedup.minhash is off)"
    yield Verdict.at_most(GATE, value, limit, what + estimated, examples=shown)


class _Signatures:
    """The signatures of all units by dense index, mapped as far as a process may."""

    def __init__(self, output: Output) -> None:
        self._out, self._records = output.out, list(output.records("clean").values())
        self._first_U1 = np.cumsum([0, *(record.rows("signatures") for record in self._records)])
        self._mapped: dict[int, tuple[pa.Table, SignatureRows]] = {}
        self.alive_N = np.zeros(int(self._first_U1[-1]), np.bool_)
        for number, record in enumerate(self._records):
            ids_n = self._of(number)[0].column("doc_id").to_numpy()
            own = slice(*self._first_U1[number : number + 2])
            self.alive_N[own] = ~np.isin(ids_n, output.deleted(record.unit), assume_unique=True)

    def _of(self, number: int) -> tuple[pa.Table, SignatureRows]:
        if number in self._mapped:
            return self._mapped[number]
        table = map_table(self._out, self._records[number], "signatures")
        found = table, SignatureRows([table], [0])
        if len(self._mapped) < _MOST_MAPS:  # 42 KB each; the others are mapped whenever they are read, in 0.4 ms
            self._mapped[number] = found
        return found

    def batches(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield all signatures with the dense index of the first of each batch."""
        for number, first in enumerate(self._first_U1[:-1].tolist()):
            start = first
            for batch in self._of(number)[0].to_batches():
                yield batch, start
                start += batch.num_rows

    def _by_unit(self, dense_M: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint32], NDArray[np.int64]]]:
        """Yield each unit with rows of it and their places in `dense_M`."""
        order_M = np.argsort(dense_M, kind="stable")
        unit_M = np.searchsorted(self._first_U1, dense_M[order_M], side="right") - 1
        for start, stop in pairwise([*np.flatnonzero(np.diff(unit_M, prepend=-1)).tolist(), len(dense_M)]):
            number, places_m = int(unit_M[start]), order_M[start:stop]
            yield number, (dense_M[places_m] - self._first_U1[number]).astype(np.uint32), places_m

    def minhash(self, dense_M: NDArray[np.int64], num_perm: int) -> NDArray[np.uint32]:
        """Return uint32 [M, K]."""
        sig_MK = np.empty((len(dense_M), num_perm), np.uint32)
        for number, row_m, places_m in self._by_unit(dense_M):
            sig_MK[places_m] = self._of(number)[1].minhash(row_m)
        return sig_MK

    def ids(self, dense_M: NDArray[np.int64]) -> Iterator[tuple[str, dict[int, int]]]:
        """Yield each unit that holds some of the documents, and the dense index of each by its id."""
        for number, row_m, places_m in self._by_unit(dense_M):
            ids_m = self._of(number)[1].doc_id(row_m)
            yield self._records[number].unit, dict(zip(ids_m.tolist(), dense_M[places_m].tolist(), strict=True))


def _buckets(
    signed: _Signatures, keys_of: _Keys, num_words: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield survivors (dense indices) ordered by their keys of so many words, and whether each has the key before it.

    Documents of one key are in one pass, in their order, so the passes do not change what is found.
    """
    num_alive = int(np.count_nonzero(signed.alive_N))
    scans = -(-num_alive * num_words // _MOST_HELD)
    passes = -(-num_alive // (_MOST_KEYS * scans))
    for scan in range(scans):
        keys, dense = [], []
        for batch, first in signed.batches():
            key_nW, valid_n = keys_of(batch)
            valid_n &= signed.alive_N[first : first + batch.num_rows] & (key_nW[:, 0] % np.uint64(scans) == scan)
            keys.append(key_nW[valid_n])
            dense.append((np.flatnonzero(valid_n) + first).astype(np.uint32))
        for part in range(passes):
            own: list[Any] = [slice(None)] * len(keys)
            if passes > 1:
                own = [key_nW[:, 0] // np.uint64(scans) % np.uint64(passes) == part for key_nW in keys]
            key_CW, dense_C = _joined(keys, own), _joined(dense, own)
            if part + 1 == passes:  # or the keys of a single pass would be held twice while it sorts them
                keys, dense = [], []
            order_C = np.lexsort(key_CW.T)
            key_CW, dense_C = key_CW[order_C], dense_C[order_C].astype(np.int64)
            same_C = np.zeros(len(key_CW), np.bool_)
            same_C[1:] = (key_CW[1:] == key_CW[:-1]).all(axis=1)
            yield dense_C, same_C


def _joined(arrays: list[Any], own: list[Any]) -> Any:
    return np.concatenate([array[own_n] for array, own_n in zip(arrays, own, strict=True)])


def _exact_keys(batch: pa.RecordBatch) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    return exact_words(batch.column("exact")), np.ones(batch.num_rows, np.bool_)


def _band_keys(batch: pa.RecordBatch, *, columns: slice) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    sig_nK, signed_n = signature_rows(batch.column("minhash"))
    band_nR = sig_nK[:, columns].astype(np.uint64)
    factors = (np.arange(band_nR.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    key_n = (band_nR * factors).sum(axis=1, dtype=np.uint64)
    mixed_n = (key_n ^ (key_n >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return mixed_n[:, None], signed_n.copy()


def _near(signed: _Signatures, minhash: dict[str, Any], repeats_N: NDArray[np.bool_], likely: "_Likely") -> None:
    """Note the survivors whose signature is like one of their bucket, before them, in any band.

    They repeat it if the stage was configured to believe signatures; with verify: jaccard that is likely.
    """
    width = minhash["rows"]
    for band in range(minhash["bands"]):
        keys_of = partial(_band_keys, columns=slice(band * width, (band + 1) * width))
        for dense_C, same_C in _buckets(signed, keys_of, 1):
            start_C = np.maximum.accumulate(np.where(same_C, 0, np.arange(len(same_C))))  # first of the bucket
            place_L = np.flatnonzero(same_C)
            for back in range(1, _NEIGHBOURS + 1):
                near_L = place_L[place_L - back > start_C[place_L]]
                _compare(signed, minhash, dense_C[near_L], dense_C[near_L - back], repeats_N, likely)
            _compare(signed, minhash, dense_C[place_L], dense_C[start_C[place_L]], repeats_N, likely)


def _compare(
    signed: _Signatures,
    minhash: dict[str, Any],
    a_L: NDArray[np.int64],
    b_L: NDArray[np.int64],
    repeats_N: NDArray[np.bool_],
    likely: "_Likely",
) -> None:
    num_perm = minhash["bands"] * minhash["rows"]
    for start in range(0, len(a_L), _CHUNK):
        a_l, b_l = a_L[start : start + _CHUNK], b_L[start : start + _CHUNK]
        new_l = ~repeats_N[a_l]
        a_l, b_l = a_l[new_l], b_l[new_l]
        sig_mK = signed.minhash(np.concatenate([a_l, b_l]), num_perm)
        near_l = (sig_mK[: len(a_l)] == sig_mK[len(a_l) :]).sum(axis=1) >= least_equal(minhash["threshold"], num_perm)
        if minhash["verify"] == "jaccard":
            likely.add(a_l[near_l], b_l[near_l])
        else:
            repeats_N[a_l[near_l]] = True


class _Likely:
    """Documents that are likely to repeat another one, and the pairs of as many of them as texts are read of.

    They are drawn by a hash of their dense index: those with the smallest lots.
    """

    def __init__(self, num_documents: int) -> None:
        self._is_likely_N = np.zeros(num_documents, np.bool_)
        self._most_lot = np.uint64(2**64 - 1)
        self._pairs = [np.zeros(0, np.uint64)]  # both dense indices, which have 32 bits: the later document's first
        self._num_pairs = 0

    def add(self, a_L: NDArray[np.int64], b_L: NDArray[np.int64]) -> None:
        """Add pairs of a document and one before it; several bands find the same pair."""
        self._is_likely_N[a_L] = True
        drawn_L = _lots(a_L.astype(np.uint64)) <= self._most_lot
        self._pairs.append((a_L[drawn_L].astype(np.uint64) << np.uint64(32)) | b_L[drawn_L].astype(np.uint64))
        self._num_pairs += len(self._pairs[-1])
        if self._num_pairs > _MOST_PAIRS:
            self._draw(_MOST_DRAWN)

    def _draw(self, most: int) -> int:
        """Keep the pairs of at most so many documents; return of how many."""
        pair_L = np.unique(np.concatenate(self._pairs))
        lots_L = _lots(pair_L >> np.uint64(32))
        lots_M = np.unique(lots_L)  # no two documents have the same: the factor is odd
        if len(lots_M) > most:
            self._most_lot = lots_M[most - 1]
            pair_L = pair_L[lots_L <= self._most_lot]
        self._pairs, self._num_pairs = [pair_L], len(pair_L)
        return min(len(lots_M), most)

    def _drawn(self) -> NDArray[np.int64]:
        """Return int64 [L, 2]: the pairs, after `_draw`."""
        (pair_L,) = self._pairs
        return np.stack([pair_L >> np.uint64(32), pair_L & np.uint64(2**32 - 1)], axis=1).astype(np.int64)

    def verified(
        self, output: Output, signed: _Signatures, minhash: dict[str, Any], repeats_N: NDArray[np.bool_]
    ) -> tuple[int, str]:
        """Note in `repeats_N` the drawn documents whose text is as similar as the threshold asks.

        Return how many more there are likely to be among those that were not drawn, and words that say so.
        """
        num_drawn, ngram = self._draw(_MOST_DRAWN), minhash["ngram"]
        shingles: dict[int, NDArray[np.uint64]] = {}
        needed = set(self._drawn().ravel().tolist())
        num_shingles = 0
        for unit, dense_of in signed.ids(np.array(sorted(needed), np.int64)):
            ids_M = np.array(list(dense_of), np.int64)
            for batch in output.documents(unit, ("doc_id", "text")):
                wanted_N = np.isin(batch.column("doc_id").to_numpy(), ids_M)
                if not wanted_N.any():
                    continue
                chosen = batch.filter(pa.array(wanted_N))
                for doc_id, own in zip(chosen.column("doc_id").to_pylist(), _shingles(chosen, ngram), strict=True):
                    if dense_of[doc_id] in needed:
                        shingles[dense_of[doc_id]] = own.copy()
                        num_shingles += len(own)
                while num_shingles > _MOST_SHINGLES and num_drawn > 1:
                    num_drawn = self._draw(num_drawn // 2)
                    needed = set(self._drawn().ravel().tolist())
                    shingles = {dense: own for dense, own in shingles.items() if dense in needed}
                    num_shingles = sum(map(len, shingles.values()))
        true = {a for a, b in self._drawn().tolist() if _jaccard(shingles[a], shingles[b]) >= minhash["threshold"]}
        repeats_N[sorted(true)] = True
        num_likely = int(np.count_nonzero(self._is_likely_N))
        if num_drawn == num_likely:
            return 0, ""
        told = f"; an estimate: of {num_likely:,} that are likely to the texts of {num_drawn:,} were compared"
        return round(len(true) / num_drawn * (num_likely - num_drawn)), told


def _lots(dense_M: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return dense_M * np.uint64(0x9E3779B97F4A7C15)


def _shingles(batch: pa.RecordBatch, ngram: int) -> list[NDArray[np.uint64]]:
    lists = shingle_rows(batch.column("text"), np.arange(batch.num_rows, dtype=np.uint32), ngram).column("shingles")
    return np.split(lists.values.to_numpy(), lists.offsets.to_numpy()[1:-1])


def _jaccard(a_S: NDArray[np.uint64], b_S: NDArray[np.uint64]) -> float:
    common = len(np.intersect1d(a_S, b_S, assume_unique=True))
    return common / max(1, len(a_S) + len(b_S) - common)


def _examples(output: Output, signed: _Signatures, dense_M: NDArray[np.int64]) -> tuple[Example, ...]:
    ids = [doc_id for _, own in signed.ids(dense_M) for doc_id in own]
    documents = output.find(ids)
    return tuple(Example(doc_id, documents[doc_id]["url"]) for doc_id in ids)
