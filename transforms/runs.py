"""Runs: the hashes of a group ordered by prefix, of which any partition is read without a sort; equal ones as buckets.

Shapes: N documents, D of them signed, E entries of runs, M members of buckets, B buckets, P partitions.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.fingerprint import MinHashParameters, exact_words, signature_rows
from transforms.kernels.lsh import band_keys, collect_buckets, group_equal

PREFIX_BITS = 16  # runs are ordered by this many upper bits of the key: 65,536 partitions at most

EXACT_RUN = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("check", pa.uint64(), nullable=False),  # the other half of the 128-bit hash
        pa.field("row", pa.uint32(), nullable=False),  # of the group's signatures
    ]
)
BAND_RUN = pa.schema([pa.field("key", pa.uint64(), nullable=False), pa.field("row", pa.uint32(), nullable=False)])


def exact_run(signatures: pa.Table, first_row: int = 0) -> pa.Table:
    """Return the content hashes of a group, as EXACT_RUN ordered by the prefix of the key, then by row.

    `first_row` is that of `signatures` in its group, if they are a part of it; so it is in `band_run`.
    """
    exact_N = exact_words(_one_chunk(signatures.column("exact")))
    order_N = _order_by_prefix(exact_N[:, 0])
    row_N = (order_N + first_row).astype(np.uint32)
    return pa.table([exact_N[order_N, 0], exact_N[order_N, 1], row_N], schema=EXACT_RUN)


def band_run(signatures: pa.Table, parameters: MinHashParameters, first_row: int = 0) -> pa.Table:
    """Return the band keys of a group, as BAND_RUN ordered by the prefix of the key, then by row.

    Documents without a signature have no entry. 12 bytes an entry, `bands` entries a document; 0.3 us a document.
    """
    sig_NK, signed_N = signature_rows(_one_chunk(signatures.column("minhash")))
    row_D = np.flatnonzero(signed_N)
    key_E = np.empty(len(row_D) * parameters.bands, np.uint64)
    band_keys(sig_NK, row_D, parameters.bands, parameters.rows, key_E)
    order_E = _order_by_prefix(key_E)
    row_D += first_row
    return pa.table([key_E[order_E], row_D.astype(np.uint32)[order_E // parameters.bands]], schema=BAND_RUN)


def prefix_bounds(key_E: NDArray[np.uint64], num_partitions: int) -> NDArray[np.int64]:
    """Return int64 [P + 1]: partition p of a run is its rows from bound p to bound p + 1.

    Args:
        key_E: uint64, the keys of a run.
        num_partitions: a power of two.

    Raises:
        ValueError: the runs are not ordered finely enough for so many partitions, or the number is not a power of two.
    """
    shift = _prefix_shift(num_partitions)
    inner = np.arange(1, num_partitions, dtype=np.uint64)
    # The run is ordered by prefix only, but every bound is a prefix followed by zeros, so the search is still exact.
    return np.concatenate(([0], np.searchsorted(key_E, inner << np.uint64(shift)), [len(key_E)]))


def prefix_slice(key_E: NDArray[np.uint64], num_partitions: int, part: int) -> slice:
    """Return where one partition of a run is: two of its bounds, found without the others.

    Raises:
        ValueError: keys of other partitions are between the bounds, or the number is not a power of two.
    """
    shift = _prefix_shift(num_partitions)
    start = int(np.searchsorted(key_E, np.uint64(part << shift))) if part else 0
    stop = int(np.searchsorted(key_E, np.uint64(part + 1 << shift))) if part + 1 < num_partitions else len(key_E)
    if (key_E[start:stop] >> np.uint64(shift) != part).any() and shift:  # runs are mapped, which compares no hash
        raise ValueError("it is not ordered by key, as it was when it was written")
    return slice(start, stop)


def _prefix_shift(num_partitions: int) -> int:
    bits = num_partitions.bit_length() - 1
    if num_partitions < 1 or num_partitions != 1 << bits or bits > PREFIX_BITS:
        raise ValueError(f"{num_partitions} partitions: must be a power of two, at most {1 << PREFIX_BITS}")
    return 64 - bits if bits else 0


def by_prefix(run: pa.Table) -> pa.Table:
    """Return a run (column `key`, uint64) ordered by the prefix of the key, then as it came."""
    return run.take(pa.array(_order_by_prefix(run.column("key").to_numpy())))


def buckets(key_E: NDArray[np.uint64], dense_E: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return `(offsets_B1, entry_M)` of the keys that occur more than once, members in ascending dense order.

    Entries of one document keep their order.
    """
    slot_H = np.zeros(max(2, 1 << (2 * len(key_E) - 1).bit_length()), np.uint32)
    first_E = np.empty(len(key_E), np.uint32)
    count_E = np.zeros(len(key_E), np.uint32)
    num_buckets, num_members = group_equal(key_E, slot_H, first_E, count_E)
    offsets_B1 = np.empty(num_buckets + 1, np.int64)
    entry_M = np.empty(num_members, np.uint32)
    if not collect_buckets(dense_E, first_E, count_E, offsets_B1, entry_M):  # the runs came in another order of units
        bucket_M = np.repeat(np.arange(num_buckets, dtype=np.uint64), np.diff(offsets_B1))
        # Stable: the spans of a document stay in the order of its text.
        entry_M = entry_M[np.argsort(bucket_M << np.uint64(32) | dense_E[entry_M], kind="stable")]
    return offsets_B1, entry_M


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _order_by_prefix(key_E: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Stable, so rows stay ascending; numpy sorts 16 bits by radix: 11 ns an entry, against 23 for all 64 bits."""
    return np.argsort((key_E >> np.uint64(64 - PREFIX_BITS)).astype(np.uint16), kind="stable")
