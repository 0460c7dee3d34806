"""Signatures against datasketch fed with the same shingle hashes."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import minhash as reference
from transforms.kernels.minhash import minhash, shingles
from transforms.kernels.strings import string_views
from transforms.kernels.words import word_table

WORDS = ["a", "b", "Corpus", "\u4e2d", "\u0e01\u0e34", "42"]
texts = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join).map(str.encode)


def kernel_minhash(documents, ngram, num_perm, seed):
    """The signature of each document, None where it has none."""
    a_K, b_K = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations
    offsets_N1, bytes_M = string_views(pa.array(documents, pa.binary()))
    sig_NK = np.empty((len(documents), num_perm), np.uint32)
    signed_N = np.empty(len(documents), np.bool_)
    minhash(offsets_N1, bytes_M, word_table(), ngram, a_K, b_K, sig_NK, signed_N)
    assert not sig_NK[~signed_N].any()
    return [row.tolist() if signed else None for row, signed in zip(sig_NK, signed_N, strict=True)]


def reference_minhash(documents, ngram, num_perm, seed):
    """The same from the twin."""
    return [reference.minhash(document, ngram, num_perm, seed) for document in documents]


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=4), st.integers(1, 6), st.sampled_from([1, 7, 112, 128]), st.integers(0, 3))
def test_kernel_equals_datasketch(documents, ngram, num_perm, seed):
    """Bit for bit, for any number of permutations and any seed."""
    assert kernel_minhash(documents, ngram, num_perm, seed) == reference_minhash(documents, ngram, num_perm, seed)


def kernel_shingles(documents, ngram):
    """The 64-bit shingle hashes of each document."""
    offsets_N1, bytes_M = string_views(pa.array(documents, pa.binary()))
    shingle_S = np.empty((len(bytes_M) + len(documents)) // 2, np.uint64)
    starts_N1 = np.empty(len(documents) + 1, np.int64)
    shingles(offsets_N1, bytes_M, word_table(), ngram, shingle_S, starts_N1)
    return [shingle_S[start:stop].tolist() for start, stop in pairwise(starts_N1)]


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, max_size=4), st.integers(1, 6))
def test_shingles_equal_twin(documents, ngram):
    """Every shingle, in order, with repetitions."""
    assert kernel_shingles(documents, ngram) == [reference.shingles(document, ngram) for document in documents]


@pytest.mark.parametrize("ngram", [1, 2, 5, 13])
def test_shingles_across_blocks(ngram):
    """None is lost or changed where one block of words ends and the next begins."""
    documents = [" ".join(map(str, range(3300))).encode(), b"a b c"]
    assert kernel_shingles(documents, ngram) == [reference.shingles(document, ngram) for document in documents]


@pytest.mark.parametrize("sign", [kernel_minhash, reference_minhash])
@pytest.mark.parametrize("num_words", [0, 1, 4, 5, 6, 12, 13, 14, 1023, 1024, 1025, 1028, 1029, 1030, 2060])
def test_document_lengths(sign, num_words):
    """No signature below five words; shingles across the edges of blocks are not lost."""
    words = [str(number) for number in range(num_words)]
    other = words[:1]
    signature, short = sign([" ".join(words).encode(), " ".join(other).encode()], 5, 112, 1)
    assert short is None
    assert (signature is None) == (num_words < 5)
    if signature is not None:
        assert signature == reference.minhash(" ".join(words).encode(), 5, 112, 1)


def test_equal_words_sign_alike():
    """Case and punctuation do not count, the order of words does."""
    plain, loud, turned = kernel_minhash(
        [b"one two three four five six", b"One, TWO: three (four) five... six", b"six five four three two one"],
        5,
        112,
        1,
    )
    assert plain == loud
    assert plain != turned


def test_similarity_of_large_sets_is_unbiased():
    """The signed mean error on 100,000 shingles is near 0; products that wrap before a modulus lift it."""
    rng = np.random.default_rng(0)
    errors = []
    for trial in range(6):
        shared = rng.integers(0, 1 << 40, 60_000).tolist()
        left = shared + rng.integers(1 << 40, 1 << 41, 40_000).tolist()
        right = shared + rng.integers(1 << 41, 1 << 42, 40_000).tolist()
        documents = [" ".join(map(str, words)).encode() for words in (left, right)]
        a, b = (np.array(sig) for sig in kernel_minhash(documents, 1, 4096, trial))
        errors.append((a == b).mean() - reference.jaccard(left, right))
    # standard error of one estimate: sqrt(.43 * .57 / 4096) = .0077
    assert abs(np.mean(errors)) < 3 * 0.0077 / np.sqrt(len(errors))
