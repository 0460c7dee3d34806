"""The fingerprint of a document: what dedup knows of it without its text. No Beam.

`exact` is XXH3-128 of the UTF-8 bytes of the column `text` exactly as they stand, that is, after the clean stage has
normalised Unicode and white space; two documents are exact duplicates when it is equal. `minhash` is the signature of
the set of lower-cased word shingles, null where a document has fewer words than a shingle: then only `exact` speaks.

Shapes: N documents, K permutations.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from transforms.kernels.minhash import minhash
from transforms.kernels.strings import string_views
from transforms.kernels.tables import Arrays, kept
from transforms.kernels.words import WORD_SCAN, word_table
from transforms.schema import signatures_schema

SCHEME = "affine32"
EXACT_HASH = "xxh3-128"


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHashParameters:
    """What a signature is made with; its length is `bands * rows`.

    Args:
        bands: bands of LSH; two documents are candidates if one band is equal.
        rows: permutations in a band.
        ngram: words in a shingle.
        seed: seed of the permutations, as datasketch uses it.
    """

    bands: int = 14
    rows: int = 8
    ngram: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("bands", "rows", "ngram"):
            if getattr(self, name) < 1:
                raise ValueError(f"minhash.{name} is {getattr(self, name)}, must be at least 1")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"minhash.seed is {self.seed}, must fit 32 bits")

    @classmethod
    def for_threshold(cls, threshold: float, num_perm: int, *, ngram: int = 5, seed: int = 1) -> Self:
        """Choose bands and rows as datasketch does: least sum of the areas of false positives and false negatives.

        The product may be smaller than `num_perm`; permutations beyond it would never be used and are not computed.
        """
        if not (0 < threshold < 1 and num_perm >= 2):
            raise ValueError(f"no bands for threshold {threshold} and {num_perm} permutations")
        from datasketch import MinHashLSH  # noqa: PLC0415 - it imports scipy: 0.3 s and 30 MB a process

        lsh = MinHashLSH(threshold=threshold, num_perm=num_perm)
        return cls(bands=lsh.b, rows=lsh.r, ngram=ngram, seed=seed)

    @property
    def num_perm(self) -> int:
        """Length of a signature."""
        return self.bands * self.rows

    def permutations(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return `(a_K, b_K)`, uint32, from datasketch itself."""
        return _permutations(self.num_perm, self.seed)


@cache
def _permutations(num_perm: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    def make() -> Arrays:
        from datasketch import MinHash  # noqa: PLC0415 - it imports scipy: 0.3 s and 30 MB a process

        a_K, b_K = MinHash(num_perm=num_perm, seed=seed, scheme=SCHEME).permutations
        return np.ascontiguousarray(a_K), np.ascontiguousarray(b_K)

    a_K, b_K = kept(f"permutations-{SCHEME}-{num_perm}-{seed}-{version('datasketch')}", make)
    return a_K, b_K


def probability(similarity: float, bands: int, rows: int) -> float:
    """Return the chance that two documents of this Jaccard similarity become candidates (the S-curve)."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def metadata(parameters: MinHashParameters | None) -> dict[str, str]:
    """Return what must be equal for two signature files to compare; bands and rows may differ, their product not."""
    stamp = {"exact": EXACT_HASH}
    if parameters is not None:
        stamp |= {
            "scheme": SCHEME,
            "seed": str(parameters.seed),
            "num_perm": str(parameters.num_perm),
            "ngram": str(parameters.ngram),
            "word_scan": WORD_SCAN,
            "unidata": unicodedata.unidata_version,
        }
    return stamp


def check_metadata(schema: pa.Schema, parameters: MinHashParameters | None) -> None:
    """Refuse signatures that were made in another way than `parameters` make them.

    Raises:
        ValueError: the first key that differs, with both values.
    """
    stored = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    for key, expected in metadata(parameters).items():
        if stored.get(key) != expected:
            raise ValueError(f"signatures have {key} {stored.get(key)!r}, this run needs {expected!r}: sign them again")


def exact_hash(texts: pa.Array) -> pa.FixedSizeBinaryArray:
    """Return the XXH3-128 digest of the UTF-8 bytes of each of N texts (16 bytes, big endian); null reads as empty."""
    offsets_N1, bytes_M = string_views(texts)
    view = memoryview(bytes_M.data)
    # A loop in Python costs 0.2 us a document, little beside the rest of its work; the hash itself reads 10 GB/s.
    digests = b"".join([xxhash.xxh3_128_digest(view[start:stop]) for start, stop in pairwise(offsets_N1.tolist())])
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(texts), [None, pa.py_buffer(digests)])


def exact_words(exact: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    """Return uint64 [N, 2]: the 16 bytes as two native numbers, without copying; a slice is allowed."""
    words_N2 = np.frombuffer(exact.buffers()[1], np.uint64).reshape(-1, 2)
    return words_N2[exact.offset : exact.offset + len(exact)]


def content_hash(texts: pa.Array) -> NDArray[np.uint64]:
    """Return the first 64 bits of `exact_hash` of each of N texts: what splits and samples are drawn by."""
    _, digests = exact_hash(texts).buffers()
    return np.frombuffer(digests, ">u8").reshape(-1, 2)[:, 0].astype(np.uint64)


def fingerprint(batch: pa.RecordBatch, parameters: MinHashParameters | None) -> pa.RecordBatch:
    """Return the rows of `signatures/` for the documents of `batch`: doc_id, exact, minhash.

    Args:
        batch: columns doc_id (int64) and text (string); N rows.
        parameters: None signs nothing: minhash is then a list of length 0, all null.
    """
    texts = batch.column("text")
    schema = signatures_schema(parameters.num_perm if parameters else 0, metadata(parameters))
    if parameters is None:
        minhash_N = pa.nulls(len(batch), schema.field("minhash").type)
    else:
        offsets_N1, bytes_M = string_views(texts)
        a_K, b_K = parameters.permutations()
        sig_NK = np.empty((len(batch), parameters.num_perm), np.uint32)
        signed_N = np.empty(len(batch), np.bool_)
        minhash(offsets_N1, bytes_M, word_table(), parameters.ngram, a_K, b_K, sig_NK, signed_N)
        minhash_N = pa.FixedSizeListArray.from_arrays(
            pa.array(sig_NK.reshape(-1)), type=schema.field("minhash").type, mask=pa.array(~signed_N)
        )
    return pa.record_batch([batch.column("doc_id"), exact_hash(texts), minhash_N], schema=schema)


def signature_rows(minhash: pa.FixedSizeListArray) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return `(sig_NK, signed_N)` of the column `minhash` without copying the signatures; rows of nulls are undefined.

    Args:
        minhash: N lists of K uint32, not chunked; a slice is allowed.
    """
    num_perm = minhash.type.list_size
    start = minhash.offset * num_perm
    values_NK = minhash.values.to_numpy()[start : start + len(minhash) * num_perm]
    return values_NK.reshape(len(minhash), num_perm), minhash.is_valid().to_numpy(zero_copy_only=False)
