"""Signatures of English prose, MB/s on one core: fingerprint beside datasketch (and rensa, where it is installed).

    python tests/bench/minhash.py [--data ../shared/data] [--megabytes 20] [--repeats 5]

All sign word 5-grams with 112 permutations. datasketch is given the same words (`str.split` on text that was cut into
words and lower-cased before the clock starts, so it is charged for shingling and hashing only) and, once more, our own
shingle hashes, which must give our signatures bit for bit before anything is timed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
import zstandard
from datasketch import MinHash

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transforms.fingerprint import SCHEME, MinHashParameters, fingerprint, signature_rows
from transforms.kernels.minhash import shingles
from transforms.kernels.strings import string_views
from transforms.kernels.words import word_table

ENGLISH = ("python-docs/en", "nltk-public-domain/en", "perl-doc/en", "libreoffice-help/en-us")
PARAMETERS = MinHashParameters()


def main() -> None:
    """Compare, time and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--megabytes", type=float, default=20)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    texts = read_texts(given.data, int(given.megabytes * 1e6))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    batch = pa.record_batch({"doc_id": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts)})
    shingle_hashes = shingle_lists(batch.column("text"))
    check(batch, shingle_hashes)
    words = [" ".join(word.lower() for word in text.split()) for text in texts]
    few = words[:: max(1, round(megabytes / 2))]  # the rivals take minutes for all
    few_megabytes = sum(map(len, words[:: max(1, round(megabytes / 2))])) / 1e6
    rivals: list[tuple[str, Callable[[], object], float]] = [
        (
            "gristmill fingerprint (words, shingles, signature, exact hash)",
            lambda: fingerprint(batch, PARAMETERS),
            megabytes,
        ),
        ("datasketch 2 affine32, our shingle hashes given", lambda: sketch_hashes(shingle_hashes), megabytes),
        ("datasketch 2 affine32, xxh32 of joined words", lambda: sketch_words(few), few_megabytes),
    ]
    if find_spec("rensa"):
        os.environ["RAYON_NUM_THREADS"] = "1"
        rivals.append(("rensa RMinHash, batch of joined words", lambda: rensa_words(few, "RMinHash"), few_megabytes))
        rivals.append(("rensa CMinHash, batch of joined words", lambda: rensa_words(few, "CMinHash"), few_megabytes))
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in rivals}
    for _, run, _ in rivals:
        run()
    for _ in range(given.repeats):
        for name, run, _ in rivals:
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    print(
        f"{len(texts)} documents, {megabytes:.1f} MB of English, median of {given.repeats}; signatures compared first\n"
    )
    print("| signatures, one core | MB/s | documents/s | gristmill is |\n|---|---|---|---|")
    ours = megabytes / statistics.median(seconds[rivals[0][0]])
    for name, _, size in rivals:
        rate = size / statistics.median(seconds[name])
        print(f"| {name} | {rate:.1f} | {rate * len(texts) / megabytes:,.0f} | {ours / rate:.1f} x |")


def read_texts(data: Path, num_bytes: int) -> list[str]:
    """Return English prose, `num_bytes` at most."""
    texts, left = [], num_bytes
    for name in ENGLISH:
        with zstandard.open(data / "text" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                left -= len(text)
                if left < 0:
                    return texts
                texts.append(text)
    return texts


def shingle_lists(texts: pa.Array) -> list[np.ndarray]:
    """Return the 32-bit shingle hashes of every document."""
    offsets_N1, bytes_M = string_views(texts)
    shingle_S = np.empty((len(bytes_M) + len(texts)) // 2, np.uint64)
    starts_N1 = np.empty(len(texts) + 1, np.int64)
    shingles(offsets_N1, bytes_M, word_table(), PARAMETERS.ngram, shingle_S, starts_N1)
    hash_S = (shingle_S >> np.uint64(32)).astype(np.uint32)
    return [hash_S[start:stop] for start, stop in pairwise(starts_N1)]


def check(batch: pa.RecordBatch, shingle_hashes: list[np.ndarray]) -> None:
    """Raise AssertionError unless our signatures are those of datasketch."""
    sig_NK, signed_N = signature_rows(fingerprint(batch, PARAMETERS).column("minhash"))
    expected = sketch_hashes(shingle_hashes)
    assert signed_N.tolist() == [len(hashes) > 0 for hashes in shingle_hashes]
    assert all((ours == theirs).all() for ours, theirs, has in zip(sig_NK, expected, signed_N, strict=True) if has)


def sketch_hashes(shingle_hashes: list[np.ndarray]) -> list[np.ndarray]:
    """Sign with datasketch, hashes given."""
    first = MinHash(num_perm=PARAMETERS.num_perm, seed=PARAMETERS.seed, scheme=SCHEME, hashfunc=int)
    signatures = []
    for hashes in shingle_hashes:
        sketch = first.copy()
        if len(hashes):
            sketch.update_batch(hashes)
        signatures.append(sketch.hashvalues)
    return signatures


def sketch_words(documents: list[str]) -> list[np.ndarray]:
    """Sign with datasketch as its users do: shingles as bytes, a fast 32-bit hash."""
    first = MinHash(num_perm=PARAMETERS.num_perm, seed=PARAMETERS.seed, scheme=SCHEME, hashfunc=xxhash.xxh32_intdigest)
    signatures = []
    for document in documents:
        sketch = first.copy()
        sketch.update_batch([shingle.encode() for shingle in joined_shingles(document)])
        signatures.append(sketch.hashvalues)
    return signatures


def rensa_words(documents: list[str], family: str) -> object:
    """Sign a batch with rensa (Rust); its hash families are its own, so only the work is comparable."""
    import rensa

    shingle_sets = [joined_shingles(document) for document in documents]
    return getattr(rensa, family).digests_from_token_sets(shingle_sets, PARAMETERS.num_perm, PARAMETERS.seed)


def joined_shingles(document: str) -> list[str]:
    """Return every five consecutive words, joined by a space."""
    words = document.split()
    return [" ".join(words[i : i + PARAMETERS.ngram]) for i in range(len(words) - PARAMETERS.ngram + 1)]


if __name__ == "__main__":
    main()
