"""Deduplication: from signatures to deletion vectors, as plain functions over committed tables. No Beam, no text.

    signatures/<unit> -- exact_run, band_run (`runs.py`) --> runs ordered by hash prefix    one task a unit
    slice p of exact and URL runs -- link_exact, newest --> identity edges                  one task a partition
    all identity edges -- origins --> origin_N: the one document that stands for its copies  one task
    slice p of band runs, without copies -- link_minhash --> edges                          one task a partition
    all edges -- components | spanning_forest, split_clusters --> parent_N                   one task
    parent_N, origin_N -- deletions --> deletions/<unit>                                    one task a unit

A document is known here by its dense index (uint32): its rank by run, then source priority (highest first), then
doc_id. The survivor of a cluster is its smallest dense index, whatever the number of units, partitions and workers.

Shapes: N documents, E entries of runs, M members of buckets, B buckets, L links, F edges of a forest.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.evidence import NOTHING, Compared, Evidence, SignatureRows
from transforms.kernels.components import (
    choose_origins,
    choose_survivors,
    cluster_sizes,
    collect_clusters,
    compress,
    span_edges,
    union_edges,
)
from transforms.kernels.likeness import pair_likeness
from transforms.kernels.lsh import link_buckets
from transforms.runs import buckets
from transforms.schema import DELETIONS

MAX_DOCUMENTS = (1 << 32) - 1

EDGES = pa.schema(
    [
        pa.field("a", pa.uint32(), nullable=False),  # dense index
        pa.field("b", pa.uint32(), nullable=False),  # a smaller one
        pa.field("similarity", pa.float32()),  # null = not verified
    ]
)

_FOREST_EDGES = 1 << 22  # edges that wait for the next forest: 34 MB
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def link_exact(key_E: NDArray[np.uint64], check_E: NDArray[np.uint64], dense_E: NDArray[np.uint32]) -> pa.Table:
    """Return the edges of documents whose 128 bits of content hash are equal, with similarity 1.

    Args:
        key_E: uint64, slices of one partition of all exact runs, one after the other.
        check_E: uint64, the same of the column `check`.
        dense_E: uint32, dense index of the document of each entry.
    """
    offsets_B1, entry_M = buckets(key_E, dense_E)
    check_M2 = check_E[entry_M].view(np.uint32).reshape(-1, 2)  # a signature of two values that must both agree
    return _edge_table([_links(offsets_B1, NOTHING._replace(sig_MK=check_M2), 1.0, dense_E[entry_M])])


def link_minhash(
    key_E: NDArray[np.uint64], dense_E: NDArray[np.uint32], *, threshold: float, evidence: Evidence | None
) -> pa.Table:
    """Return the edges of documents that share a bucket and are alike.

    Args:
        key_E: uint64, slices of one partition of all band runs, one after the other, in any order of units.
        dense_E: uint32, dense index of the document of each entry.
        threshold: least similarity.
        evidence: signatures or shingles by dense index; None verifies nothing and links a bucket to its smallest one.

    Each bucket of n gives at most n - 1 edges; see `link_buckets` for which. Memory: 36 bytes an entry of the
    partition, and the evidence of one chunk of documents (29 MB of signatures, some 23 MB of shingles).
    """
    offsets_B1, entry_M = buckets(key_E, dense_E)
    dense_M = dense_E[entry_M]
    if evidence is None:
        table = _edge_table([_links(offsets_B1, NOTHING, 0.0, dense_M)])
        return table.set_column(2, EDGES.field("similarity"), pa.nulls(table.num_rows, pa.float32()))
    least = evidence.least(threshold)
    return _edge_table(
        [
            _links(offsets_b1, evidence.compared(dense_m), least, dense_m)
            for offsets_b1, dense_m in _chunks(offsets_B1, dense_M, evidence.chunk)
        ]
    )


def components(edges: Iterable[pa.Table], num_documents: int) -> NDArray[np.uint32]:
    """Return `parent_N` (uint32): for every dense index the smallest one of its component, itself if it is that.

    Args:
        edges: EDGES of all partitions, in any order.
        num_documents: N.

    Raises:
        ValueError: more documents than a dense index can number.
    """
    parent_N = _singletons(num_documents)
    for table in edges:
        for batch in table.to_batches():
            union_edges(parent_N, batch.column("a").to_numpy(), batch.column("b").to_numpy())
    compress(parent_N)
    return parent_N


def origins(
    older: Iterable[pa.Table], equal: Iterable[pa.Table], num_documents: int
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return which document stands for each one before near-duplicates are looked for.

    Args:
        older: EDGES from a document to the newer page of the same URL, which is not in `a` itself.
        equal: EDGES of equal texts.
        num_documents: N.

    Returns:
        origin_N: uint32; the page that replaces a document, or else the smallest document with its text that no page
            replaces, or itself.
        replaced_N: bool, True where another page of the same URL is kept.

    Copies stop here: a million copies of a licence are one document in every bucket. 13 bytes a document.
    """
    origin_N = _singletons(num_documents)
    replaced_N = np.zeros(num_documents, np.bool_)
    older = [batch for table in older for batch in table.to_batches()]
    for batch in older:
        replaced_N[batch.column("a").to_numpy()] = True
    for table in equal:
        for batch in table.to_batches():
            union_edges(origin_N, batch.column("a").to_numpy(), batch.column("b").to_numpy())
    compress(origin_N)
    choose_origins(origin_N, replaced_N, np.empty(num_documents, np.uint32))
    for batch in older:
        origin_N[batch.column("a").to_numpy()] = origin_N[batch.column("b").to_numpy()]
    return origin_N, replaced_N


def spanning_forest(edges: Iterable[pa.Table], num_documents: int) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return the components, and of the edges those that are enough to know the components up to any document.

    Args:
        edges: EDGES of all partitions, in any order.
        num_documents: N.

    Returns:
        parent_N: uint32, as from `components`.
        pair_F: uint64, larger end << 32 | smaller end, ascending; fewer than N.

    Memory: 4 bytes a document, and 24 bytes an edge of the forest, but 100 MB at least.
    """
    parent_N = _singletons(num_documents)
    pair_F = np.empty(0, np.uint64)
    waiting: list[NDArray[np.uint64]] = []
    num_waiting = 0
    for table in edges:
        for batch in table.to_batches():
            a_L, b_L = batch.column("a").to_numpy(), batch.column("b").to_numpy()
            waiting.append(a_L.astype(np.uint64) << _HALF | b_L)
            num_waiting += len(a_L)
            if num_waiting >= max(_FOREST_EDGES, len(pair_F)):
                pair_F = _span(pair_F, waiting, parent_N)
                num_waiting = 0
    pair_F = _span(pair_F, waiting, parent_N)
    compress(parent_N)
    return parent_N, pair_F


def split_clusters(
    parent_N: NDArray[np.uint32], pair_F: NDArray[np.uint64], evidence: Evidence, *, threshold: float
) -> None:
    """Cut components so that every document is like its own survivor, not only linked to it by a chain.

    Args:
        parent_N: uint32, changed in place: a document that is unlike all survivors of the component that it makes with
            the documents before it becomes a survivor, and later members may be its copies.
        pair_F: uint64, the forest of the components, from `spanning_forest`.
        evidence: signatures or shingles by dense index.
        threshold: least similarity.

    Without it a chain of revisions is deleted down to the first one: of 3,161 deletions among 12,845 real pages 84 were
    less than 0.75 similar to their survivor (the least 0.48), of 599 among licences 48. Because a document sees only
    what comes before it, new files never change what happened to old ones, and deduplicating them against an earlier
    run gives what deduplicating everything at once gives. Memory: at most 12 bytes a document beside `parent_N`, 24
    bytes an edge of the forest, and the evidence of one chunk, or of the largest component if that is larger.
    """
    size_N = cluster_size(parent_N)
    offsets_C1 = np.empty(np.count_nonzero(size_N > 1) + 1, np.int64)
    member_M = np.empty(size_N[size_N > 1].sum(), np.uint32)
    collect_clusters(parent_N, size_N, offsets_C1, member_M)
    del size_N
    root_F = parent_N[(pair_F >> _HALF).astype(np.uint32)]
    order_F = np.argsort(root_F, kind="stable")
    root_F, pair_F = root_F[order_F], pair_F[order_F]
    least = evidence.least(threshold)
    start = 0
    while start < len(offsets_C1) - 1:
        stop = int(np.searchsorted(offsets_C1, offsets_C1[start] + evidence.chunk, side="right")) - 1
        stop = max(stop, start + 1)
        member_m = member_M[offsets_C1[start] : offsets_C1[stop]]
        root_m = np.repeat(member_M[offsets_C1[start:stop]], np.diff(offsets_C1[start : stop + 1])).astype(np.uint64)
        first, last = np.searchsorted(root_F, np.array((root_m[0], root_m[-1] + np.uint64(1)), np.uint32))
        key_m, root_f = root_m << _HALF | member_m, root_F[first:last].astype(np.uint64) << _HALF
        a_f = np.searchsorted(key_m, root_f | pair_F[first:last] >> _HALF)
        b_f = np.searchsorted(key_m, root_f | pair_F[first:last] & _LOW)
        twin_m = np.empty(len(member_m), np.uint32)
        choose_survivors(a_f, b_f, *evidence.compared(member_m), least, twin_m)
        parent_N[member_m] = member_m[twin_m]
        start = stop


def similarities(a_L: NDArray[np.uint32], b_L: NDArray[np.uint32], evidence: Evidence) -> NDArray[np.float32]:
    """Return float32 [L]: how alike each pair of dense indices is."""
    similarity_L = np.empty(len(a_L), np.float32)
    for start in range(0, len(a_L), evidence.chunk // 2):
        chunk = slice(start, start + evidence.chunk // 2)
        compared = evidence.compared(np.concatenate((a_L[chunk], b_L[chunk])))
        row_l = np.arange(len(a_L[chunk]))
        pair_likeness(row_l, row_l + len(row_l), *compared, similarity_L[chunk])
    return similarity_L


def deletions(
    survivor_n: NDArray[np.uint32],
    origin_n: NDArray[np.uint32],
    replaced_n: NDArray[np.bool_],
    first_dense: int,
    *,
    signatures: SignatureRows,
    evidence: Evidence,
    runs: Sequence[tuple[int, str | None]] = ((0, None),),
) -> pa.Table:
    """Return DELETIONS of one unit: every document that is not its own survivor, in order of doc_id.

    Args:
        survivor_n: uint32, the unit's slice of the final survivors.
        origin_n: uint32, the unit's slice of `origin_N`.
        replaced_n: bool, the unit's slice of `replaced_N`.
        first_dense: dense index of the unit's first document.
        signatures: of all units.
        evidence: what similarities are measured by.
        runs: dense index of the first document of each run, ascending, and the run's name (None: this one).

    The reason is `url` if another page of the URL is kept (similarity null), `exact` if the text is the survivor's
    (similarity 1), else `minhash` with the similarity of the two: at least the threshold if clusters were split.
    """
    own_n = np.arange(first_dense, first_dense + len(survivor_n), dtype=np.uint32)
    deleted_n = survivor_n != own_n
    survivor_D, origin_D, url_D = survivor_n[deleted_n], origin_n[deleted_n], replaced_n[deleted_n]
    near_D = (origin_D != survivor_D) & ~url_D
    similarity_D = np.ones(len(survivor_D), np.float32)
    similarity_D[near_D] = similarities(origin_D[near_D], survivor_D[near_D], evidence)
    run_D = np.searchsorted([first for first, _ in runs], survivor_D, side="right") - 1
    return pa.table(
        [
            signatures.doc_id(own_n[deleted_n]),
            pc.if_else(pa.array(url_D), "url", pc.if_else(pa.array(near_D), "minhash", "exact")),
            signatures.doc_id(survivor_D),
            pa.array([name for _, name in runs], pa.string()).take(pa.array(run_D)),
            pa.array(similarity_D, mask=url_D),
        ],
        schema=DELETIONS,
    )


def cluster_size(survivor_N: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return uint32 [N]: how many documents have this one as their survivor, itself included; 0 for a deleted one."""
    size_N = np.zeros(len(survivor_N), np.uint32)
    cluster_sizes(survivor_N, size_N)
    return size_N


def cluster_counts(size_N: NDArray[np.uint32]) -> dict[int, int]:
    """Return how many clusters there are of each size, 1 included, in ascending order of size."""
    sizes, counts = np.unique(size_N[size_N > 0], return_counts=True)
    return dict(zip(sizes.tolist(), counts.tolist(), strict=True))


def edge_table(a_L: NDArray[np.uint32], b_L: NDArray[np.uint32]) -> pa.Table:
    """Return EDGES without similarities."""
    return pa.table([a_L, b_L, pa.nulls(len(a_L), pa.float32())], schema=EDGES)


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


def _singletons(num_documents: int) -> NDArray[np.uint32]:
    if num_documents > MAX_DOCUMENTS:
        raise ValueError(f"{num_documents} documents: one machine numbers {MAX_DOCUMENTS} at most")
    return np.arange(num_documents, dtype=np.uint32)


def _span(
    pair_F: NDArray[np.uint64], waiting: list[NDArray[np.uint64]], parent_N: NDArray[np.uint32]
) -> NDArray[np.uint64]:
    """Return the forest of a forest and more edges; `waiting` is emptied before the copy is sorted."""
    pair_L = np.concatenate([pair_F, *waiting])
    waiting.clear()
    pair_L.sort()
    return pair_L[: span_edges(pair_L, parent_N)].copy()


def _links(
    offsets_B1: NDArray[np.int64], compared: Compared, least: float, dense_M: NDArray[np.uint32]
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return the links of some buckets: a << 32 | b (dense indices), and the similarity."""
    root_M, member_L, earlier_L = (np.empty(len(dense_M), np.uint32) for _ in range(3))
    similarity_L = np.empty(len(dense_M), np.float32)
    num_links = link_buckets(offsets_B1, *compared, least, root_M, member_L, earlier_L, similarity_L)
    pair_L = dense_M[member_L[:num_links]].astype(np.uint64) << _HALF | dense_M[earlier_L[:num_links]]
    return pair_L, similarity_L[:num_links]


def _edge_table(links: list[tuple[NDArray[np.uint64], NDArray[np.float32]]]) -> pa.Table:
    """Return EDGES sorted by a, then b, each pair once (several bands find the same pair)."""
    pair_L = np.concatenate([pair for pair, _ in links]) if links else np.empty(0, np.uint64)
    similarity_L = np.concatenate([similarity for _, similarity in links]) if links else np.empty(0, np.float32)
    order_L = np.argsort(pair_L)  # not numpy.unique: its stable sort takes four times as long
    pair_L = pair_L[order_L]
    fresh_L = np.ones(len(pair_L), np.bool_)
    fresh_L[1:] = pair_L[1:] != pair_L[:-1]
    pair_L = pair_L[fresh_L]
    a_L, b_L = (pair_L >> _HALF).astype(np.uint32), pair_L.astype(np.uint32)
    return pa.table([a_L, b_L, similarity_L[order_L[fresh_L]]], schema=EDGES)
