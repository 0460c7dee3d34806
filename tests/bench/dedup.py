"""Signatures to deletion vectors on generated signatures: CPU seconds and memory a document, one process.

    python tests/bench/dedup.py [--documents 1000000 2000000 4000000] [--copies 0.3] [--work DIR]

Each size runs in a process of its own over signature files of 100,000 documents, as the dedup stage does: runs, links
of one partition after the other, components, clusters, deletions, everything between them in files. Anonymous memory is
sampled 200 times a second (file pages that the kernel can drop are not in it), and what the process held before the
first signature is subtracted; the slope between the smallest and the largest size is the memory a document. Of the
documents `--copies` are copies: clusters of five on average, half exact, half with a similarity of 0.7 to 1.0.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transforms.dedup import (
    cluster_size,
    components,
    deletions,
    link_exact,
    link_minhash,
    origins,
    similarities,
    spanning_forest,
    split_clusters,
)
from transforms.evidence import SignatureRows
from transforms.fingerprint import MinHashParameters, metadata
from transforms.runs import band_run, exact_run, prefix_slice
from transforms.schema import signatures_schema

PARAMETERS = MinHashParameters()
UNIT = 100_000
PARTITION_ENTRIES = 1 << 22
THRESHOLD = 0.75


def main() -> None:
    """Run every size twice, with verification and without, and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--documents", type=int, nargs="+", default=[1_000_000, 2_000_000, 4_000_000])
    options.add_argument("--copies", type=float, default=0.3)
    options.add_argument("--work", type=Path)
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options.add_argument("--verify", type=int, default=1, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(given.work, given.one, verify=bool(given.verify))))
        return
    print("| documents | verify | runs | origins | links | clusters | deletions | documents/s | deleted | MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    anonymous: dict[int, list[float]] = {0: [], 1: []}
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        for number in range(max(given.documents) // UNIT):
            write(Path(work) / f"signatures-{number}", generate(number, given.copies))
        for size in given.documents:
            for verify in (0, 1):
                command = [sys.executable, __file__, "--work", work, "--one", str(size), "--verify", str(verify)]
                row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                anonymous[verify].append(row["anonymous"])
                cells = " | ".join(f"{seconds:.2f}" for seconds in row["seconds"].values())
                rate = size / sum(row["seconds"].values())
                name = "signature" if verify else "none"
                megabytes = row["anonymous"] / 1e6
                print(
                    f"| {size:,} | {name} | {cells} | {rate:,.0f} | {row['deleted']:,} | {megabytes:.0f} |", flush=True
                )
    for verify, name in enumerate(("none", "signature")):
        slope = (anonymous[verify][-1] - anonymous[verify][0]) / (given.documents[-1] - given.documents[0] or 1)
        print(f"\nverify {name}: {slope:.1f} bytes of anonymous memory a document beside the constant")


def generate(number: int, copies: float) -> pa.Table:
    """Return the signatures of unit `number`; a function of its arguments, so no document is kept in memory."""
    document_N = np.arange(number * UNIT, (number + 1) * UNIT, dtype=np.uint64)
    draw_N = mix(document_N) / 2.0**64
    # A copy shares its cluster with copies of the same million documents; an original is a cluster of its own.
    pool = int(copies * 10 * UNIT / 5) or 1
    shared_N = mix(document_N + np.uint64(1 << 40)) % np.uint64(pool) + np.uint64(number // 10 * pool)
    cluster_N = np.where(draw_N < copies, shared_N, document_N | np.uint64(1 << 50))
    k_K = np.arange(PARAMETERS.num_perm, dtype=np.uint64)
    sig_NK = mix((cluster_N[:, None] << np.uint64(8)) + k_K)
    changed_N = np.where(draw_N < copies / 2, 0.0, draw_N / copies * 2 - 1) * 0.3
    own_NK = mix((document_N[:, None] << np.uint64(8)) + k_K + np.uint64(1 << 58))
    sig_NK = np.where((own_NK >> np.uint64(32)) / 2.0**32 < changed_N[:, None], own_NK, sig_NK).astype(np.uint32)
    exact_N = np.where(changed_N[:, None] == 0, cluster_N[:, None], document_N[:, None] | np.uint64(1 << 60))
    exact_N2 = mix(exact_N + np.array([0, 1 << 62], np.uint64))
    schema = signatures_schema(PARAMETERS.num_perm, metadata(PARAMETERS))
    exact = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), UNIT, [None, pa.py_buffer(exact_N2)])
    minhash = pa.FixedSizeListArray.from_arrays(pa.array(sig_NK.reshape(-1)), type=schema.field("minhash").type)
    return pa.table([document_N.astype(np.int64), exact, minhash], schema=schema)


def mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: random numbers as a function of a number."""
    value = (value + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return value ^ value >> np.uint64(31)


def measure(work: Path, num_documents: int, *, verify: bool) -> dict[str, object]:
    """Return seconds of each step and the anonymous bytes above those of a process that has done nothing yet."""
    warm_up()
    units = range(num_documents // UNIT)
    num_partitions = 1 << max(
        0, (num_documents * PARAMETERS.bands - 1).bit_length() - PARTITION_ENTRIES.bit_length() + 1
    )
    seconds: dict[str, float] = {}
    with peak_anonymous() as peak:
        with clock(seconds, "runs"):
            for u in units:
                signatures = read(work / f"signatures-{u}")
                write(work / f"exact-{u}", exact_run(signatures))
                write(work / f"bands-{u}", band_run(signatures, PARAMETERS))
        with clock(seconds, "origins"):
            runs = [read(work / f"exact-{u}") for u in units]
            for part in range(num_partitions):
                write(work / f"equal-{part}", link_exact(*partition(runs, part, num_partitions)))
            equal = (read(work / f"equal-{part}") for part in range(num_partitions))
            origin_N, replaced_N = origins([], equal, num_documents)
            write(work / "origins", pa.table({"origin": origin_N, "replaced": replaced_N}))
            del origin_N, replaced_N
        with clock(seconds, "links"):
            rows = signature_rows_of(work, units) if verify else None
            origin_N = column(work / "origins", "origin")
            runs = [read(work / f"bands-{u}") for u in units]
            for part in range(num_partitions):
                key_E, dense_E = partition(runs, part, num_partitions)
                alone_E = origin_N[dense_E] == dense_E
                edges = link_minhash(key_E[alone_E], dense_E[alone_E], threshold=THRESHOLD, evidence=rows)
                write(work / f"edges-{part}", edges)
        with clock(seconds, "clusters"):
            tables = (read(work / f"edges-{part}") for part in range(num_partitions))
            if verify:
                survivor_N, pair_F = spanning_forest(tables, num_documents)
                split_clusters(survivor_N, pair_F, signature_rows_of(work, units), threshold=THRESHOLD)
                del pair_F
            else:
                survivor_N = components(tables, num_documents)
            for u in units:
                part = slice(u * UNIT, (u + 1) * UNIT)
                survivor_N[part] = survivor_N[origin_N[part]]
            size_N = cluster_size(survivor_N)
        with clock(seconds, "deletions"):
            rows = signature_rows_of(work, units)
            replaced_N = np.zeros(UNIT, np.bool_)
            deleted = 0
            for u in units:
                part = slice(u * UNIT, (u + 1) * UNIT)
                places = (survivor_N[part], origin_N[part], replaced_N, u * UNIT)
                table = deletions(*places, signatures=rows, evidence=rows)
                deleted += table.num_rows
                write(work / f"deletions-{u}", table)
                assert not verify or table.num_rows == 0 or table.column("similarity").to_numpy().min() >= THRESHOLD
    assert deleted == num_documents - np.count_nonzero(size_N)
    return {"seconds": seconds, "anonymous": peak[0], "deleted": deleted}


def partition(runs: list[pa.Table], part: int, num_partitions: int) -> list[NDArray]:
    """Return the columns of one partition of all runs, the last turned into dense indices."""
    columns: list[list[NDArray]] = [[] for _ in runs[0].schema]
    for u, run in enumerate(runs):
        (batch,) = run.to_batches()
        place = prefix_slice(batch.column("key").to_numpy(), num_partitions, part)
        for values, column in zip(columns, batch.columns, strict=True):
            values.append(column.to_numpy()[place])
        columns[-1][-1] = columns[-1][-1] + np.uint32(u * UNIT)
    return [np.concatenate(values) for values in columns]


def signature_rows_of(work: Path, units: range) -> SignatureRows:
    """Map the signatures of all units."""
    return SignatureRows([read(work / f"signatures-{u}") for u in units], [u * UNIT for u in units])


def write(path: Path, table: pa.Table) -> None:
    """Write one record batch, or several of 4,000 documents as the clean stage leaves them."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=4000 if path.name.startswith("signatures") else None)


def column(path: Path, name: str) -> NDArray:
    """Map one column of a file of one batch."""
    return read(path).column(name).chunk(0).to_numpy()


def read(path: Path) -> pa.Table:
    """Map a file."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def warm_up() -> None:
    """Compile every kernel, then give memory back."""
    sig_NK = np.zeros((2, PARAMETERS.num_perm), np.uint32)
    schema = signatures_schema(PARAMETERS.num_perm, metadata(PARAMETERS))
    minhash = pa.FixedSizeListArray.from_arrays(pa.array(sig_NK.reshape(-1)), type=schema.field("minhash").type)
    unit = pa.table([np.arange(2), pa.array([b"\0" * 16] * 2, pa.binary(16)), minhash], schema=schema)
    rows = SignatureRows([unit], [0])
    key_E, check_E, dense_E = (column.to_numpy() for column in exact_run(unit).columns)
    origin_N, replaced_N = origins([], [link_exact(key_E, check_E, dense_E)], 2)
    key_E, dense_E = (column.to_numpy() for column in band_run(unit, PARAMETERS).columns)
    link_minhash(key_E, dense_E, threshold=THRESHOLD, evidence=None)
    edges = [link_minhash(key_E, dense_E, threshold=THRESHOLD, evidence=rows)]
    components(edges, 2)
    survivor_N, pair_F = spanning_forest(edges, 2)
    split_clusters(survivor_N, pair_F, rows, threshold=THRESHOLD)
    cluster_size(survivor_N)
    assert deletions(survivor_N, origin_N, replaced_N, 0, signatures=rows, evidence=rows).num_rows == 1
    similarities(survivor_N, survivor_N, rows)
    ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the CPU seconds of a step: it has one thread, and other programs on the machine do not count."""
    started = time.process_time()
    yield
    seconds[name] = time.process_time() - started


@contextmanager
def peak_anonymous() -> Iterator[list[int]]:
    """Sample the anonymous memory of this process; the list holds the peak above the start, in bytes."""
    peak = [0]
    stop = threading.Event()
    start = anonymous_bytes()

    def sample() -> None:
        while not stop.wait(0.005):
            peak[0] = max(peak[0], anonymous_bytes() - start)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
