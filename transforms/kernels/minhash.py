"""MinHash signatures of the word shingles of a batch.

A shingle is `ngram` consecutive words; its 64-bit hash is the polynomial of their hashes, its 32-bit hash the upper
half of that. The permutations are those of datasketch 2, scheme "affine32": a finalizer (fmix32 of MurmurHash3), then
h -> a * h + b modulo 2**32 with a odd. Broder, "On the resemblance and containment of documents", 1997.

Shapes: N documents, M bytes, K permutations, S shingles, W words of a block, C code points.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import allocating_part, inlined, kernel, part
from transforms.kernels.words import scan_words

# Odd, and 5 modulo 8: b**i - b**j keeps all but the lowest bits of the difference of two words that changed places.
_BASE = np.uint64(0xD1342543DE82EF95)
_HALF = np.uint64(32)
_U = np.uint64
_EMPTY = np.uint32(0xFFFFFFFF)
_BLOCK = 1024  # words scanned at a time: their hashes and shingles stay in the first-level cache
_ZERO = np.int64(0)  # numba would compile the scan once for int32 or literal arguments and once more for int64
_LANES = 8  # shingles that share one pass over the permutations


@kernel
def shingles(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    table_C: NDArray[np.uint32],
    ngram: int,
    shingle_S: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
) -> None:
    """Write the shingle hashes of every document, in order of the text and with repetitions.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8.
        table_C: uint32 [0x110000], see `word_table`.
        ngram: words in a shingle; with 1 the shingles are the words.
        shingle_S: uint64, output; (M + N) // 2 entries are always enough, since a word takes at least two bytes with
            the separator after it.
        starts_N1: int64, output: document i owns `shingle_S[starts_N1[i]:starts_N1[i + 1]]`, empty if it is too short.
    """
    word_W = np.empty(_BLOCK + ngram, np.uint64)
    shingle_W = np.empty(_BLOCK + ngram, np.uint64)
    end = _ZERO
    starts_N1[0] = 0
    for n in range(len(offsets_N1) - 1):
        position, stop, kept = int(_ZERO + offsets_N1[n]), int(_ZERO + offsets_N1[n + 1]), int(_ZERO)
        while position < stop:
            position, kept, found = _next_shingles(bytes_M, position, stop, table_C, ngram, word_W, kept, shingle_W)
            shingle_S[end : end + found] = shingle_W[:found]
            end += found
        starts_N1[n + 1] = end


@kernel
def minhash(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    table_C: NDArray[np.uint32],
    ngram: int,
    a_K: NDArray[np.uint32],
    b_K: NDArray[np.uint32],
    sig_NK: NDArray[np.uint32],
    signed_N: NDArray[np.bool_],
) -> None:
    """Write the MinHash signature of every document that has at least `ngram` words.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8.
        table_C: uint32 [0x110000], see `word_table`.
        ngram: words in a shingle.
        a_K: uint32, odd multipliers.
        b_K: uint32, addends.
        sig_NK: uint32, output; zeros where a document is too short.
        signed_N: bool, output: False where a document (an empty one too) has fewer than `ngram` words.

    Scan and permutations alternate in blocks, so that no shingle leaves the cache. Eight shingles share one pass over
    the permutations: each vector of a, b and of the signature is then loaded once for eight multiplications.
    """
    word_W = np.empty(_BLOCK + ngram, np.uint64)
    shingle_W = np.empty(_BLOCK + ngram, np.uint64)
    for n in range(len(offsets_N1) - 1):
        position, stop, kept = int(_ZERO + offsets_N1[n]), int(_ZERO + offsets_N1[n + 1]), int(_ZERO)
        sig_K = sig_NK[n]
        sig_K[:] = _EMPTY
        signed = False
        while position < stop:
            position, kept, found = _next_shingles(bytes_M, position, stop, table_C, ngram, word_W, kept, shingle_W)
            if found > 0:
                signed = True
                _permute(shingle_W, found, a_K, b_K, sig_K)
        signed_N[n] = signed
        if not signed:
            sig_K[:] = np.uint32(0)


@part
def _next_shingles(
    bytes_M: NDArray[np.uint8],
    position: int,
    stop: int,
    table_C: NDArray[np.uint32],
    ngram: int,
    word_W: NDArray[np.uint64],
    kept: int,
    shingle_W: NDArray[np.uint64],
) -> tuple[int, int, int]:
    """Write the shingles of the next block of words; `word_W` carries the last `ngram` - 1 words to the next call.

    Returns:
        Where the scan goes on, how many words were carried, how many shingles were written.
    """
    position, filled = scan_words(bytes_M, position, stop, table_C, word_W, kept)
    found = max(filled - ngram + 1, 0)
    for i in range(found):
        shingle = word_W[_U(i)]
        for j in range(i + 1, i + ngram):
            shingle = shingle * _BASE + word_W[_U(j)]
        shingle_W[_U(i)] = shingle
    for i in range(filled - found):
        word_W[_U(i)] = word_W[_U(found + i)]
    return position, filled - found, found


@allocating_part
def _permute(
    shingle_W: NDArray[np.uint64],
    found: int,
    a_K: NDArray[np.uint32],
    b_K: NDArray[np.uint32],
    sig_K: NDArray[np.uint32],
) -> None:
    """Lower `sig_K` to the smallest permuted value of the shingles; the loop over K becomes vector code."""
    hash_8 = np.empty(_LANES, np.uint32)
    for start in range(0, found, _LANES):
        for lane in range(_LANES):  # the last shingle fills the last lanes: a repetition does not change a minimum
            hash_8[lane] = _fmix32(np.uint32(shingle_W[min(start + lane, found - 1)] >> _HALF))
        h0, h1, h2, h3 = hash_8[0], hash_8[1], hash_8[2], hash_8[3]
        h4, h5, h6, h7 = hash_8[4], hash_8[5], hash_8[6], hash_8[7]
        for k in range(len(sig_K)):
            a, b = a_K[k], b_K[k]
            low0 = min(np.uint32(a * h0 + b), np.uint32(a * h1 + b))
            low1 = min(np.uint32(a * h2 + b), np.uint32(a * h3 + b))
            low2 = min(np.uint32(a * h4 + b), np.uint32(a * h5 + b))
            low3 = min(np.uint32(a * h6 + b), np.uint32(a * h7 + b))
            sig_K[k] = min(sig_K[k], low0, low1, low2, low3)


@inlined
def _fmix32(value: np.uint32) -> np.uint32:
    """The finalizer of MurmurHash3, which datasketch applies before the permutations."""
    value = np.uint32(value ^ (value >> np.uint32(16)))
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value = np.uint32(value ^ (value >> np.uint32(13)))
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    return np.uint32(value ^ (value >> np.uint32(16)))
