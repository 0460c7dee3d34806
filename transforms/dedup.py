"""Deduplication: from signatures to deletion vectors, as plain functions over committed tables. No Beam, no text.

    signatures/<unit> -- exact_run, band_run --> runs ordered by hash prefix          one task a unit
    slice p of every run -- link_exact, link_minhash --> edges                         one task a partition
    all edges -- components, split_clusters --> parent_N, 4 bytes a document           one task
    parent_N, signatures/<unit> -- deletions --> deletions/<unit>                      one task a unit

A document is known here by its dense index (uint32): its rank by source priority (highest first), then doc_id. The
survivor of a cluster is the smallest dense index, whatever the number of units, partitions and workers.

Shapes: N documents, E entries of runs, M members of buckets, B buckets, L links, P partitions, K permutations.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import ceil
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.fingerprint import MinHashParameters, exact_words, signature_rows
from transforms.kernels.components import choose_survivors, cluster_sizes, collect_clusters, compress, union_edges
from transforms.kernels.lsh import band_keys, collect_buckets, copy_rows, group_equal, link_buckets
from transforms.schema import DELETIONS

PREFIX_BITS = 16  # runs are ordered by this many upper bits of the key: 65,536 partitions at most
MAX_DOCUMENTS = (1 << 32) - 1

EXACT_RUN = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("check", pa.uint64(), nullable=False),  # the other half of the 128-bit hash
        pa.field("row", pa.uint32(), nullable=False),  # of the unit's signatures
    ]
)
BAND_RUN = pa.schema([pa.field("key", pa.uint64(), nullable=False), pa.field("row", pa.uint32(), nullable=False)])
EDGES = pa.schema(
    [
        pa.field("a", pa.uint32(), nullable=False),  # dense index
        pa.field("b", pa.uint32(), nullable=False),  # a smaller one
        pa.field("similarity", pa.float32()),  # null = not verified
    ]
)

_CHUNK = 1 << 16  # documents whose signatures are in memory at once: 29 MB with 112 permutations


class SignatureRows:
    """Signatures of all units by dense index, in any order and with repetitions.

    Args:
        units: signatures of each unit (columns of `signatures/`), in memory or mapped.
        first_dense: dense index of the first document of each unit; a unit's documents follow each other.
    """

    def __init__(self, units: Sequence[pa.Table], first_dense: Sequence[int]) -> None:
        pieces: list[tuple[int, pa.RecordBatch]] = []  # as they lie in the files: joining them would copy everything
        for first, unit in zip(first_dense, units, strict=True):
            batches = unit.to_batches()
            starts = accumulate((batch.num_rows for batch in batches[:-1]), initial=first)
            pieces += zip(starts, batches, strict=False)
        pieces.sort(key=itemgetter(0))
        self._first_P = np.array([first for first, _ in pieces], np.int64)
        self._doc_id = [batch.column("doc_id").to_numpy() for _, batch in pieces]
        self._exact = [exact_words(batch.column("exact")) for _, batch in pieces]
        self._sig = [signature_rows(batch.column("minhash"))[0] for _, batch in pieces]
        self._num_perm = units[0].schema.field("minhash").type.list_size if units else 0

    def doc_id(self, dense_M: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return int64 [M]."""
        taken_M = np.empty(len(dense_M), np.int64)
        for piece, row_m, place_m in self._by_piece(dense_M):
            taken_M[place_m] = self._doc_id[piece][row_m]
        return taken_M

    def exact(self, dense_M: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """Return uint64 [M, 2], the two halves of the content hash."""
        taken_M2 = np.empty((len(dense_M), 2), np.uint64)
        for piece, row_m, place_m in self._by_piece(dense_M):
            taken_M2[place_m] = self._exact[piece][row_m]
        return taken_M2

    def minhash(self, dense_M: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return uint32 [M, K]; a row is undefined where the document has no signature."""
        taken_MK = np.empty((len(dense_M), self._num_perm), np.uint32)
        for piece, row_m, place_m in self._by_piece(dense_M):
            copy_rows(self._sig[piece], row_m, place_m, taken_MK)
        return taken_MK

    def _by_piece(self, dense_M: NDArray[np.uint32]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield piece, rows in it and places in the answer, in ascending order: files are read from front to back."""
        order_M = np.argsort(dense_M)
        sorted_M = dense_M[order_M].astype(np.int64)
        bounds = np.append(np.searchsorted(sorted_M, self._first_P), len(sorted_M))
        for piece in np.flatnonzero(np.diff(bounds)).tolist():
            part = slice(bounds[piece], bounds[piece + 1])
            yield piece, sorted_M[part] - self._first_P[piece], order_M[part]


def exact_run(signatures: pa.Table) -> pa.Table:
    """Return the content hashes of a unit, as EXACT_RUN ordered by the prefix of the key, then by row."""
    exact_N = exact_words(_one_chunk(signatures.column("exact")))
    order_N = _order_by_prefix(exact_N[:, 0])
    return pa.table([exact_N[order_N, 0], exact_N[order_N, 1], order_N.astype(np.uint32)], schema=EXACT_RUN)


def band_run(signatures: pa.Table, parameters: MinHashParameters) -> pa.Table:
    """Return the band keys of a unit, as BAND_RUN ordered by the prefix of the key, then by row.

    Documents without a signature have no entry. 12 bytes an entry, `bands` entries a document; 0.3 us a document.
    """
    sig_NK, signed_N = signature_rows(_one_chunk(signatures.column("minhash")))
    row_D = np.flatnonzero(signed_N)
    key_E = np.empty(len(row_D) * parameters.bands, np.uint64)
    band_keys(sig_NK, row_D, parameters.bands, parameters.rows, key_E)
    order_E = _order_by_prefix(key_E)
    return pa.table([key_E[order_E], row_D.astype(np.uint32)[order_E // parameters.bands]], schema=BAND_RUN)


def prefix_bounds(key_E: NDArray[np.uint64], num_partitions: int) -> NDArray[np.int64]:
    """Return int64 [P + 1]: partition p of a run is its rows from bound p to bound p + 1.

    Args:
        key_E: uint64, the keys of a run.
        num_partitions: a power of two.

    Raises:
        ValueError: the runs are not ordered finely enough for so many partitions, or the number is not a power of two.
    """
    bits = num_partitions.bit_length() - 1
    if num_partitions < 1 or num_partitions != 1 << bits or bits > PREFIX_BITS:
        raise ValueError(f"{num_partitions} partitions: must be a power of two, at most {1 << PREFIX_BITS}")
    inner = np.arange(1, num_partitions, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.empty(0, np.uint64)
    # The run is ordered by prefix only, but every bound is a prefix followed by zeros, so the search is still exact.
    return np.concatenate(([0], np.searchsorted(key_E, inner), [len(key_E)]))


def link_exact(key_E: NDArray[np.uint64], check_E: NDArray[np.uint64], dense_E: NDArray[np.uint32]) -> pa.Table:
    """Return the edges of documents whose 128 bits of content hash are equal, with similarity 1.

    Args:
        key_E: uint64, slices of one partition of all exact runs, one after the other.
        check_E: uint64, the same of the column `check`.
        dense_E: uint32, dense index of the document of each entry.
    """
    offsets_B1, entry_M = _buckets(key_E, dense_E)
    check_M2 = check_E[entry_M].view(np.uint32).reshape(-1, 2)  # a signature of two values that must both agree
    return _edge_table([_links(offsets_B1, check_M2, 2, dense_E[entry_M])])


def link_minhash(
    key_E: NDArray[np.uint64],
    dense_E: NDArray[np.uint32],
    *,
    threshold: float,
    signatures: SignatureRows | None,
) -> pa.Table:
    """Return the edges of documents that share a bucket and whose signatures agree.

    Args:
        key_E: uint64, slices of one partition of all band runs, one after the other, in any order of units.
        dense_E: uint32, dense index of the document of each entry.
        threshold: least share of equal signature values.
        signatures: rows by dense index; None verifies nothing and links a bucket to its smallest member.

    Each bucket of n gives at most n - 1 edges; see `link_buckets` for which. Memory: 36 bytes an entry of the
    partition, and 29 MB for the signatures being compared.
    """
    offsets_B1, entry_M = _buckets(key_E, dense_E)
    dense_M = dense_E[entry_M]
    if signatures is None:
        return _edge_table([_links(offsets_B1, np.empty((len(dense_M), 0), np.uint32), 0, dense_M)])
    links = []
    for offsets_b1, dense_m in _chunks(offsets_B1, dense_M, _CHUNK):
        sig_mK = signatures.minhash(dense_m)
        links.append(_links(offsets_b1, sig_mK, least_equal(threshold, sig_mK.shape[1]), dense_m))
    return _edge_table(links)


def least_equal(threshold: float, num_perm: int) -> int:
    """Return how many of `num_perm` signature values must be equal for a similarity of `threshold`, at least 1."""
    return max(1, ceil(threshold * num_perm - 1e-9))


def components(edges: Iterable[pa.Table], num_documents: int) -> NDArray[np.uint32]:
    """Return `parent_N` (uint32): for every dense index the survivor of its cluster, itself if it is one.

    Args:
        edges: EDGES of all partitions, exact and minhash, in any order.
        num_documents: N.

    Raises:
        ValueError: more documents than a dense index can number.
    """
    if num_documents > MAX_DOCUMENTS:
        raise ValueError(f"{num_documents} documents: one machine numbers {MAX_DOCUMENTS} at most")
    parent_N = np.arange(num_documents, dtype=np.uint32)
    for table in edges:
        for batch in table.to_batches():
            union_edges(parent_N, batch.column("a").to_numpy(), batch.column("b").to_numpy())
    compress(parent_N)
    return parent_N


def split_clusters(parent_N: NDArray[np.uint32], signatures: SignatureRows, *, threshold: float) -> None:
    """Cut components so that every document is like its own survivor, not only linked to it by a chain.

    Args:
        parent_N: uint32, from `components`; changed in place: a document that is unlike all survivors of its component
            with a smaller index becomes one, and later members may be its copies.
        signatures: of all units.
        threshold: least share of equal signature values.

    Without it a chain of revisions is deleted down to the first one: of 3,161 deletions among 12,845 real pages 84 were
    less than 0.75 similar to their survivor (the least 0.48), of 599 among licences 48. Memory: at most 12 bytes a
    document beside `parent_N`, and the signatures of one chunk.
    """
    size_N = np.zeros(len(parent_N), np.uint32)
    cluster_sizes(parent_N, size_N)
    offsets_C1 = np.empty(np.count_nonzero(size_N > 1) + 1, np.int64)
    member_M = np.empty(size_N[size_N > 1].sum(), np.uint32)
    collect_clusters(parent_N, size_N, offsets_C1, member_M)
    for offsets_c1, member_m in _chunks(offsets_C1, member_M, _CHUNK):
        sig_mK = signatures.minhash(member_m)
        twin_m = np.empty(len(member_m), np.uint32)
        choose_survivors(
            offsets_c1, sig_mK, signatures.exact(member_m), least_equal(threshold, sig_mK.shape[1]), twin_m
        )
        parent_N[member_m] = member_m[twin_m]


def deletions(parent_n: NDArray[np.uint32], first_dense: int, signatures: SignatureRows) -> pa.Table:
    """Return DELETIONS of one unit: every document that is not the survivor of its cluster, in order of doc_id.

    Args:
        parent_n: uint32, the unit's slice of `parent_N`.
        first_dense: dense index of the unit's first document.
        signatures: those of all units.

    The reason is `exact` if the text equals the survivor's (similarity 1), else `minhash` with the agreement of the two
    signatures: at least the threshold if `split_clusters` was applied.
    """
    own_n = np.arange(first_dense, first_dense + len(parent_n), dtype=np.uint32)
    deleted_D, survivor_D = own_n[parent_n != own_n], parent_n[parent_n != own_n]
    exact_D = np.empty(len(deleted_D), np.bool_)
    similarity_D = np.empty(len(deleted_D), np.float32)
    for start in range(0, len(deleted_D), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        exact_d2 = signatures.exact(deleted_D[chunk]) == signatures.exact(survivor_D[chunk])
        equal_dK = signatures.minhash(deleted_D[chunk]) == signatures.minhash(survivor_D[chunk])
        exact_D[chunk] = exact_d2.all(axis=1)
        similarity_D[chunk] = equal_dK.sum(axis=1) / max(1, equal_dK.shape[1])
    similarity_D[exact_D] = 1.0
    return pa.table(
        {
            "doc_id": signatures.doc_id(deleted_D),
            "reason": pc.if_else(pa.array(exact_D), "exact", "minhash"),
            "twin_id": signatures.doc_id(survivor_D),
            "twin_run": pa.nulls(len(deleted_D), pa.string()),
            "similarity": similarity_D,
        },
        schema=DELETIONS,
    )


def cluster_counts(parent_N: NDArray[np.uint32]) -> dict[int, int]:
    """Return how many clusters there are of each size, 1 included, in ascending order of size."""
    size_N = np.zeros(len(parent_N), np.uint32)
    cluster_sizes(parent_N, size_N)
    sizes, counts = np.unique(size_N[size_N > 0], return_counts=True)
    return dict(zip(sizes.tolist(), counts.tolist(), strict=True))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _order_by_prefix(key_E: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Stable, so rows stay ascending; numpy sorts 16 bits by radix: 11 ns an entry, against 23 for all 64 bits."""
    return np.argsort((key_E >> np.uint64(64 - PREFIX_BITS)).astype(np.uint16), kind="stable")


def _buckets(key_E: NDArray[np.uint64], dense_E: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return `(offsets_B1, entry_M)` of the keys that occur more than once, members in ascending dense order."""
    slot_H = np.zeros(max(2, 1 << (2 * len(key_E) - 1).bit_length()), np.uint32)
    first_E = np.empty(len(key_E), np.uint32)
    count_E = np.zeros(len(key_E), np.uint32)
    num_buckets, num_members = group_equal(key_E, slot_H, first_E, count_E)
    offsets_B1 = np.empty(num_buckets + 1, np.int64)
    entry_M = np.empty(num_members, np.uint32)
    if not collect_buckets(dense_E, first_E, count_E, offsets_B1, entry_M):  # the runs came in another order of units
        bucket_M = np.repeat(np.arange(num_buckets, dtype=np.uint64), np.diff(offsets_B1))
        entry_M = entry_M[np.argsort(bucket_M << np.uint64(32) | dense_E[entry_M])]
    return offsets_B1, entry_M


def _chunks(
    offsets_B1: NDArray[np.int64], dense_M: NDArray[np.uint32], limit: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    """Cut buckets into chunks of at most `limit` members; a larger one into pieces that each begin with its smallest.

    Where a bucket is cut depends on the bucket alone, so the edges do not depend on the number of partitions.
    """
    start = 0
    while start < len(offsets_B1) - 1:
        stop = int(np.searchsorted(offsets_B1, offsets_B1[start] + limit, side="right")) - 1
        if stop > start:
            yield offsets_B1[start : stop + 1] - offsets_B1[start], dense_M[offsets_B1[start] : offsets_B1[stop]]
            start = stop
            continue
        first, end = offsets_B1[start], offsets_B1[start + 1]
        for piece in range(first + 1, end, limit - 1):
            members = dense_M[piece : min(piece + limit - 1, end)]
            yield np.array([0, len(members) + 1]), np.concatenate((dense_M[first : first + 1], members))
        start += 1


def _links(
    offsets_B1: NDArray[np.int64], sig_MK: NDArray[np.uint32], least: int, dense_M: NDArray[np.uint32]
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return the links of some buckets: a << 32 | b (dense indices), and the similarity (NaN where not verified)."""
    root_M, member_L, earlier_L, equal_L = (np.empty(len(dense_M), np.uint32) for _ in range(4))
    num_links = link_buckets(offsets_B1, sig_MK, least, root_M, member_L, earlier_L, equal_L)
    pair_L = dense_M[member_L[:num_links]].astype(np.uint64) << np.uint64(32) | dense_M[earlier_L[:num_links]]
    similarity_L = equal_L[:num_links] / np.float32(sig_MK.shape[1]) if least else np.full(num_links, np.nan)
    return pair_L, similarity_L.astype(np.float32)


def _edge_table(links: list[tuple[NDArray[np.uint64], NDArray[np.float32]]]) -> pa.Table:
    """Return EDGES sorted by a, then b, each pair once (several bands find the same pair)."""
    pair_L = np.concatenate([pair for pair, _ in links]) if links else np.empty(0, np.uint64)
    similarity_L = np.concatenate([similarity for _, similarity in links]) if links else np.empty(0, np.float32)
    order_L = np.argsort(pair_L)  # not numpy.unique: its stable sort takes four times as long
    pair_L = pair_L[order_L]
    fresh_L = np.ones(len(pair_L), np.bool_)
    fresh_L[1:] = pair_L[1:] != pair_L[:-1]
    pair_L = pair_L[fresh_L]
    similarity = pa.array(similarity_L[order_L[fresh_L]], from_pandas=True)  # NaN to null
    a_L, b_L = (pair_L >> np.uint64(32)).astype(np.uint32), pair_L.astype(np.uint32)
    return pa.table([a_L, b_L, similarity], schema=EDGES)
