"""The rows of signatures/, the parameters behind them, and the refusal of others."""

import math
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from tests.reference import minhash as reference
from transforms.fingerprint import (
    MinHashParameters,
    check_metadata,
    content_hash,
    exact_words,
    fingerprint,
    metadata,
    probability,
    signature_rows,
)
from transforms.schema import signatures_schema

TEXTS = ["", "one", "one two three four", "one two three four five", "Eins, zwei\u00e4 drei vier f\u00fcnf sechs!"]


def batch_of(texts):
    """A batch with consecutive ids."""
    return pa.record_batch(
        {"doc_id": pa.array(range(10, 10 + len(texts)), pa.int64()), "text": pa.array(texts, pa.string())}
    )


def test_rows():
    """One row a document: XXH3-128 of the text, and the signature, null below five words."""
    parameters = MinHashParameters()
    found = fingerprint(batch_of(TEXTS), parameters)
    found.validate(full=True)
    assert found.schema.equals(signatures_schema(112, metadata(parameters)), check_metadata=True)
    assert found.column("doc_id").to_pylist() == [10, 11, 12, 13, 14]
    assert found.column("exact").to_pylist() == [xxhash.xxh3_128_digest(text.encode()) for text in TEXTS]
    assert found.column("minhash").to_pylist() == [reference.minhash(text.encode(), 5, 112, 1) for text in TEXTS]


def test_slices_and_nulls():
    """A slice of a batch signs like the batch; a null text like an empty one."""
    parameters = MinHashParameters(bands=2, rows=3, ngram=2)
    whole = fingerprint(batch_of([*TEXTS, None]), parameters)
    assert whole.slice(2, 3).to_pylist() == fingerprint(batch_of(TEXTS).slice(2, 3), parameters).to_pylist()
    assert whole.column("exact")[5] == whole.column("exact")[0]
    assert fingerprint(batch_of([]), parameters).num_rows == 0


def test_rows_without_minhash_survive_a_file():
    """Exact dedup alone: lists of length 0, all null, written and read."""
    found = fingerprint(batch_of(TEXTS), None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, found.schema) as writer:
        writer.write_batch(found)
    read = pa.ipc.open_file(sink.getvalue()).read_all()
    assert read.column("minhash").null_count == len(TEXTS)
    assert read.column("exact").to_pylist() == found.column("exact").to_pylist()
    check_metadata(read.schema, None)


def test_views_of_slices():
    """Numpy views of a sliced column begin where the slice does."""
    found = fingerprint(batch_of(TEXTS), MinHashParameters())
    sliced = found.slice(2, 3)
    sig_NK, signed_N = signature_rows(sliced.column("minhash"))
    assert signed_N.tolist() == [False, True, True]
    assert sig_NK[1:].tolist() == sliced.column("minhash").to_pylist()[1:]
    assert exact_words(sliced.column("exact")).tobytes() == b"".join(sliced.column("exact").to_pylist())


def test_content_hash_is_the_start_of_the_exact_hash():
    """As a number, the same on every machine."""
    digests = [xxhash.xxh3_128_digest(text.encode()) for text in TEXTS]
    assert content_hash(pa.array(TEXTS)).tolist() == [int.from_bytes(digest[:8], "big") for digest in digests]


@pytest.mark.parametrize(
    ("key", "parameters"),
    [
        ("seed", MinHashParameters(seed=2)),
        ("ngram", MinHashParameters(ngram=4)),
        ("num_perm", MinHashParameters(bands=13)),
    ],
)
def test_other_parameters_are_refused(key, parameters):
    """By name, with both values."""
    schema = fingerprint(batch_of(TEXTS), MinHashParameters()).schema
    with pytest.raises(ValueError, match=f"signatures have {key} "):
        check_metadata(schema, parameters)


@pytest.mark.parametrize("key", ["scheme", "word_scan", "unidata", "exact"])
def test_foreign_signatures_are_refused(key):
    """Signatures of another scheme, scan, Unicode version or content hash, or that do not say."""
    stamp = metadata(MinHashParameters())
    for other in ({**stamp, key: "other"}, {name: value for name, value in stamp.items() if name != key}):
        with pytest.raises(ValueError, match=f"signatures have {key} "):
            check_metadata(signatures_schema(112, other), MinHashParameters())


def test_same_signatures_in_other_bands_are_accepted():
    """Bands are not part of a signature; nor is minhash of exact dedup."""
    schema = fingerprint(batch_of(TEXTS), MinHashParameters(bands=14, rows=8)).schema
    check_metadata(schema, MinHashParameters(bands=28, rows=4))
    check_metadata(schema, None)
    assert schema.metadata[b"unidata"].decode() == unicodedata.unidata_version


@pytest.mark.parametrize(
    ("threshold", "num_perm", "bands", "rows"),
    [
        (0.7, 128, 14, 9),
        (0.7, 240, 24, 10),
        (0.7, 256, 25, 10),
        (0.8, 128, 9, 13),
        (0.5, 128, 25, 5),
        (0.75, 128, 11, 11),
    ],
)
def test_bands_for_a_threshold(threshold, num_perm, bands, rows):
    """The choice of datasketch, as published for other tools (reference/dedup.md, section 2)."""
    parameters = MinHashParameters.for_threshold(threshold, num_perm)
    assert (parameters.bands, parameters.rows, parameters.num_perm) == (bands, rows, bands * rows)


@pytest.mark.parametrize("wrong", [{"bands": 0}, {"rows": -1}, {"ngram": 0}, {"seed": 1 << 32}])
def test_impossible_parameters(wrong):
    """Refused with the name and the value."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"minhash.{name} is {value}"):
        MinHashParameters(**wrong)
    with pytest.raises(ValueError, match=r"threshold 1\.0"):
        MinHashParameters.for_threshold(1.0, 128)


@pytest.mark.parametrize(
    ("similarity", "bands", "rows", "expected"),
    [(0.8, 14, 8, 0.924), (0.7, 20, 13, 0.177), (0.5, 50, 4, 0.960), (0.0, 14, 8, 0.0), (1.0, 14, 8, 1.0)],
)
def test_probability(similarity, bands, rows, expected):
    """The table of reference/dedup.md, section 3."""
    assert math.isclose(probability(similarity, bands, rows), expected, abs_tol=5e-4)


def test_no_copy():
    """The views of signatures share memory with the column."""
    found = fingerprint(batch_of(TEXTS), MinHashParameters())
    sig_NK, _ = signature_rows(found.column("minhash"))
    assert np.shares_memory(sig_NK, found.column("minhash").values.to_numpy())
