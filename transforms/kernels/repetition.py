"""Repeated units and n-grams of one document: what the Gopher repetition rules measure.

Rae et al., Scaling Language Models (2021), table A1, as datatrove implements it: repeats are counted after the first
occurrence. An n-gram can only repeat if both of its (n-1)-grams do, so each n looks at those positions only. That is
exact, and on English prose all tables for n = 3 to 10 together hold less than the one for n = 2.

The loops write where a branch would ask first whether a token or an n-gram is new: the processor cannot guess that.

Shapes: T tokens, U units (lines or paragraphs), S slots of a hash table, G different n-grams, R rows of the lexicon.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.lexicon import CHARS, hash_step
from transforms.kernels.lines import TOKEN_ROW, Units

_U = np.uint64
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


class Scratch(NamedTuple):
    """Room for one document of T tokens; the contents mean nothing from one document to the next."""

    keys_S: NDArray[np.uint64]  # S: a power of two over 2 * T
    values_S: NDArray[np.int32]
    at_T: NDArray[np.int32]  # positions where a repeated n-gram may begin
    gram_T: NDArray[np.int32]  # number of the n-gram at each of these
    word_T: NDArray[np.int32]  # the document's tokens, numbered from 0 in order of appearance
    count_T: NDArray[np.int32]  # by number: how often
    first_T: NDArray[np.int32]  # by number: where first
    chars_T: NDArray[np.int32]  # characters up to each token
    seen_R: NDArray[np.int64]  # document << 32 | number of its token


@part
def _clear(keys_S: NDArray[np.uint64], num_keys: int) -> int:
    """Empty the part of a table that `num_keys` need, and return the shift of the hash."""
    bits = 4
    while 1 << bits < 2 * num_keys:
        bits += 1
    for s in range(1 << bits):
        keys_S[_U(s)] = _EMPTY
    return 64 - bits


@part
def count_repeats(
    hashes_U: NDArray[np.uint64], chars_U: NDArray[np.int32], num_units: int, keys_S: NDArray[np.uint64]
) -> tuple[int, int]:
    """Return how many units repeat an earlier one, and the characters of these repeats.

    Args:
        hashes_U: uint64, one a unit; equal units have equal hashes, and others do but for chance.
        chars_U: int32, length of each unit.
        num_units: how many of them to look at.
        keys_S: uint64, scratch of at least 16 and four times `num_units` slots.
    """
    shift = _U(_clear(keys_S, num_units))
    mask = (_U(1) << (_U(64) - shift)) - _U(1)
    repeats = chars = 0
    for u in range(num_units):
        key = hashes_U[_U(u)]
        if key == _EMPTY:
            key = _U(0)
        slot = (key * _FACTOR) >> shift
        while keys_S[slot] != _EMPTY and keys_S[slot] != key:
            slot = (slot + _U(1)) & mask
        if keys_S[slot] == key:
            repeats += 1
            chars += chars_U[_U(u)]
        keys_S[slot] = key
    return repeats, chars


@part
def measure_tokens(
    tokens_T: NDArray[np.int32], num_tokens: int, rows_R: NDArray[np.int32], document: int, scratch: Scratch
) -> int:
    """Prepare `scratch` for the n-grams of a document: character sums, and the positions of repeated tokens.

    Returns:
        How many positions begin a token that occurs more than once.
    """
    chars_T, seen_R, at_T, gram_T = scratch.chars_T, scratch.seen_R, scratch.at_T, scratch.gram_T
    word_T, count_T = scratch.word_T, scratch.count_T
    total = words = 0
    for t in range(num_tokens):
        token = _U(tokens_T[_U(t)] & TOKEN_ROW)
        seen = seen_R[token]
        new = seen >> 32 != document
        word = words if new else seen & 0xFFFFFFFF
        seen_R[token] = document << 32 | word
        count_T[_U(word)] = 1 if new else count_T[_U(word)] + 1
        words += new
        word_T[_U(t)] = word
        chars_T[_U(t)] = total
        total += rows_R[token, CHARS]
    chars_T[_U(num_tokens)] = total
    found = 0
    for t in range(num_tokens):
        word = word_T[_U(t)]
        at_T[_U(found)], gram_T[_U(found)] = t, word
        found += count_T[_U(word)] > 1
    return found


@part
def extend(n: int, found: int, num_tokens: int, scratch: Scratch) -> tuple[int, int]:
    """Go from the repeated (n-1)-grams in `scratch` to the repeated n-grams.

    Args:
        n: 2 or more.
        found: how many positions `at_T` holds.
        num_tokens: T.
        scratch: at_T and gram_T are rewritten; count_T and first_T filled for every n-gram looked at.

    Returns:
        How many positions begin a repeated n-gram, and how many different n-grams were looked at.
    """
    keys_S, values_S, word_T = scratch.keys_S, scratch.values_S, scratch.word_T
    at_T, gram_T, count_T, first_T = scratch.at_T, scratch.gram_T, scratch.count_T, scratch.first_T
    candidates = 0
    for c in range(found - 1):  # both (n-1)-grams repeat if the next position is in the list too
        at = at_T[_U(c)]
        at_T[_U(candidates)], gram_T[_U(candidates)] = at, gram_T[_U(c)]
        candidates += (at_T[_U(c + 1)] == at + 1) & (at + n <= num_tokens)
    shift = _U(_clear(keys_S, candidates))
    mask = (_U(1) << (_U(64) - shift)) - _U(1)
    grams = 0
    for c in range(candidates):
        at = at_T[_U(c)]
        key = _U(gram_T[_U(c)]) << _U(32) | _U(word_T[_U(at + n - 1)])
        slot = (key * _FACTOR) >> shift
        while keys_S[slot] != _EMPTY and keys_S[slot] != key:
            slot = (slot + _U(1)) & mask
        new = keys_S[slot] == _EMPTY
        gram = grams if new else int(values_S[slot])
        keys_S[slot], values_S[slot] = key, gram
        first_T[_U(gram)] = at if new else first_T[_U(gram)]
        count_T[_U(gram)] = 1 if new else count_T[_U(gram)] + 1
        grams += new
        gram_T[_U(c)] = gram
    repeated = 0
    for c in range(candidates):
        gram = gram_T[_U(c)]
        at_T[_U(repeated)], gram_T[_U(repeated)] = at_T[_U(c)], gram
        repeated += count_T[_U(gram)] > 1
    return repeated, grams


@part
def top_chars(n: int, grams: int, num_tokens: int, scratch: Scratch) -> int:
    """Return length times count of the most frequent n-gram, its tokens joined by spaces; among equals the first."""
    if num_tokens < n:
        return 0
    count_T, first_T, chars_T = scratch.count_T, scratch.first_T, scratch.chars_T
    best, first = 1, 0
    for gram in range(grams):
        if count_T[_U(gram)] > best:
            best, first = count_T[_U(gram)], first_T[_U(gram)]
    return (chars_T[first + n] - chars_T[first] + n - 1) * best


@part
def duplicate_chars(n: int, repeated: int, scratch: Scratch) -> int:
    """Return the characters of n-grams seen before, walking on behind each of them, spaces not counted."""
    at_T, gram_T, chars_T, count_T = scratch.at_T, scratch.gram_T, scratch.chars_T, scratch.count_T
    chars = behind = 0
    for c in range(repeated):
        at, gram = at_T[_U(c)], gram_T[_U(c)]
        if at < behind:
            continue
        if count_T[_U(gram)] == 0:  # has been seen
            chars += chars_T[_U(at + n)] - chars_T[_U(at)]
            behind = at + n
        else:
            count_T[_U(gram)] = 0
    return chars


@part
def separate_lines(units: Units, num_units: int) -> int:
    """Keep in `units`, the parts between line feeds, those of a split at runs of line feeds; return their number."""
    kept = 0
    for u in range(num_units):
        if units.chars_L[_U(u)] or u == 0 or u == num_units - 1:
            units.hashes_L[_U(kept)], units.chars_L[_U(kept)] = units.hashes_L[_U(u)], units.chars_L[_U(u)]
            kept += 1
    return kept


@part
def join_paragraphs(units: Units, num_units: int) -> int:
    """Join in `units`, the parts of a stripped text between line feeds, those without an empty one between them."""
    kept, open_ = 0, False
    for u in range(num_units):
        chars = units.chars_L[_U(u)]
        if chars == 0:
            open_ = False
        elif open_:
            last = _U(kept - 1)
            units.hashes_L[last] = hash_step(units.hashes_L[last], units.hashes_L[_U(u)])
            units.chars_L[last] += 1 + chars
        else:
            units.hashes_L[_U(kept)], units.chars_L[_U(kept)] = units.hashes_L[_U(u)], chars
            kept += 1
            open_ = True
    return max(kept, 1)
