"""Repeated units and n-grams of one document: what the Gopher repetition rules measure.

Rae et al., Scaling Language Models (2021), table A1, as datatrove implements it: repeats are counted after the first
occurrence. An n-gram can only repeat if both of its (n-1)-grams do, so each n looks at those positions only. That is
exact, but on English prose the table for n = 2 holds more than all others together, and few documents need it: pairs
counted by hash alone, which is never too few, mostly show that no top n-gram can fail, and leave few positions where
five tokens may repeat. So the n-grams of 2 to 4 are only counted where the bound is over a threshold or values are
asked for: 1.1 in place of 3.4 ms a MB.

The loops write where a branch would ask first whether a token or an n-gram is new: the processor cannot guess that.

Shapes: T tokens, U units (lines or paragraphs), S slots of a hash table, G different n-grams, R rows of the lexicon.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.lexicon import CHARS, hash_step
from transforms.kernels.lines import TOKEN_ROW

_U = np.uint64
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


class Scratch(NamedTuple):
    """Room for one document of T tokens; the contents mean nothing from one document to the next."""

    keys_S: NDArray[np.uint64]  # S: a power of two over 2 * T
    values_S: NDArray[np.int32]
    at_T: NDArray[np.int32]  # positions where a repeated n-gram may begin
    gram_T: NDArray[np.int32]  # number of the n-gram at each of these
    key_T: NDArray[np.uint64]  # and its key: equal for equal n-grams, and for others but by chance not
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
def _sum_chars(
    tokens_T: NDArray[np.int32], num_tokens: int, rows_R: NDArray[np.int32], chars_T: NDArray[np.int32]
) -> None:
    """Write the characters up to each token."""
    total = 0
    for t in range(num_tokens):
        chars_T[_U(t)] = total
        total += rows_R[_U(tokens_T[_U(t)] & TOKEN_ROW), CHARS]
    chars_T[_U(num_tokens)] = total


@part
def _bound_tops(tokens_T: NDArray[np.int32], num_tokens: int, scratch: Scratch) -> tuple[int, int, int, int]:
    """Count pairs of tokens by hash; return what no n-gram of 2, of 3 and of 4 tokens exceeds in length times count.

    An n-gram is no more frequent than its rarest pair, and no pair than its hash. Written to `at_T` is where four pairs
    in a row are counted more than once, for five tokens repeat nowhere else; how many that are comes last.
    """
    counts_S, at_T, count_T, chars_T = scratch.values_S, scratch.at_T, scratch.count_T, scratch.chars_T
    bits = 4
    while 1 << bits < 4 * num_tokens and 2 << bits <= len(counts_S):
        bits += 1
    shift = _U(64 - bits)
    for s in range(1 << bits):
        counts_S[_U(s)] = 0
    token = _U(tokens_T[0] & TOKEN_ROW)
    for t in range(num_tokens - 1):
        pair = token << _U(32) | _U(tokens_T[_U(t + 1)] & TOKEN_ROW)
        token = pair & _LOW
        slot = (pair * _FACTOR) >> shift
        at_T[_U(t)] = slot
        counts_S[slot] += 1
    for t in range(num_tokens - 1):
        count_T[_U(t)] = counts_S[_U(at_T[_U(t)])]
    top_2 = top_3 = top_4 = candidates = 0
    for t in range(num_tokens - 1):
        top_2 = max(top_2, count_T[t] * (chars_T[t + 2] - chars_T[t] + 1))
    for t in range(num_tokens - 2):
        top_3 = max(top_3, min(count_T[t], count_T[t + 1]) * (chars_T[t + 3] - chars_T[t] + 2))
    for t in range(num_tokens - 3):
        count = min(count_T[t], count_T[t + 1], count_T[t + 2])
        top_4 = max(top_4, count * (chars_T[t + 4] - chars_T[t] + 3))
    for t in range(num_tokens - 4):
        at_T[_U(candidates)] = t
        candidates += min(count_T[t], count_T[t + 1], count_T[t + 2], count_T[t + 3]) > 1
    return top_2, top_3, top_4, candidates


@part
def _number_words(tokens_T: NDArray[np.int32], num_tokens: int, document: int, scratch: Scratch) -> int:
    """Write where tokens stand that occur more than once, and their numbers; return how many positions."""
    seen_R, at_T, gram_T, count_T = scratch.seen_R, scratch.at_T, scratch.gram_T, scratch.count_T
    words = 0
    for t in range(num_tokens):
        token = _U(tokens_T[_U(t)] & TOKEN_ROW)
        seen = seen_R[token]
        new = seen >> 32 != document
        word = words if new else seen & 0xFFFFFFFF
        seen_R[token] = document << 32 | word
        count_T[_U(word)] = 1 if new else count_T[_U(word)] + 1
        words += new
        gram_T[_U(t)] = word
    found = 0
    for t in range(num_tokens):
        word = gram_T[_U(t)]
        at_T[_U(found)], gram_T[_U(found)] = t, word
        found += count_T[_U(word)] > 1
    return found


@part
def _number_grams(candidates: int, scratch: Scratch) -> tuple[int, int]:
    """Number the n-grams of the first positions by their keys, and keep those that repeat.

    `count_T` and `first_T` are filled for every n-gram looked at.

    Returns:
        How many positions begin a repeated n-gram, and how many different n-grams were looked at.
    """
    keys_S, values_S, key_T = scratch.keys_S, scratch.values_S, scratch.key_T
    at_T, gram_T, count_T, first_T = scratch.at_T, scratch.gram_T, scratch.count_T, scratch.first_T
    shift = _U(_clear(keys_S, candidates))
    mask = (_U(1) << (_U(64) - shift)) - _U(1)
    grams = 0
    for c in range(candidates):
        key = key_T[_U(c)]
        slot = (key * _FACTOR) >> shift
        while keys_S[slot] != _EMPTY and keys_S[slot] != key:
            slot = (slot + _U(1)) & mask
        new = keys_S[slot] == _EMPTY
        gram = grams if new else int(values_S[slot])
        keys_S[slot], values_S[slot] = key, gram
        first_T[_U(gram)] = at_T[_U(c)] if new else first_T[_U(gram)]
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
def _repeated_fives(tokens_T: NDArray[np.int32], candidates: int, scratch: Scratch) -> int:
    """Go from positions where five tokens may repeat to those where they do; return how many these are."""
    at_T, key_T = scratch.at_T, scratch.key_T
    for c in range(candidates):
        key = _U(0)
        for t in range(at_T[_U(c)], at_T[_U(c)] + 4, 2):
            key = hash_step(key, _U(tokens_T[_U(t)] & TOKEN_ROW) << _U(32) | _U(tokens_T[_U(t + 1)] & TOKEN_ROW))
        key = hash_step(key, _U(tokens_T[_U(at_T[_U(c)] + 4)] & TOKEN_ROW))
        key_T[_U(c)] = key - _U(key == _EMPTY)
    return _number_grams(candidates, scratch)[0]


@part
def _extend(n: int, found: int, tokens_T: NDArray[np.int32], num_tokens: int, scratch: Scratch) -> tuple[int, int]:
    """Go from the first `found` positions, where (n-1)-grams repeat, to those of n-grams; see `_number_grams`."""
    at_T, gram_T, key_T = scratch.at_T, scratch.gram_T, scratch.key_T
    candidates = 0
    for c in range(found - 1):  # both (n-1)-grams repeat if the next position is in the list too
        at = at_T[_U(c)]
        behind = at + n
        last = tokens_T[_U(min(behind, num_tokens) - 1)] & TOKEN_ROW
        at_T[_U(candidates)], key_T[_U(candidates)] = at, _U(gram_T[_U(c)]) << _U(32) | _U(last)
        candidates += (at_T[_U(c + 1)] == at + 1) & (behind <= num_tokens)
    return _number_grams(candidates, scratch)


@part
def _top_chars(n: int, grams: int, num_tokens: int, scratch: Scratch) -> int:
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
def _duplicate_chars(n: int, repeated: int, scratch: Scratch) -> tuple[int, int]:
    """Return the characters of n-grams seen before, walking on behind each of them, and of all that repeat.

    Spaces are not counted.
    """
    at_T, gram_T, chars_T, count_T = scratch.at_T, scratch.gram_T, scratch.chars_T, scratch.count_T
    chars = behind = covered = covered_to = 0
    for c in range(repeated):
        at, gram = at_T[_U(c)], gram_T[_U(c)]
        to = chars_T[_U(at + n)]
        covered += to - max(covered_to, chars_T[_U(at)])
        covered_to = to
        if at < behind:
            continue
        if count_T[_U(gram)] == 0:  # has been seen
            chars += to - chars_T[_U(at)]
            behind = at + n
        else:
            count_T[_U(gram)] = 0
    return chars, covered


@part
def _least(thresholds_Q: NDArray[np.float64], first: int, last: int) -> float:
    """Return the least of some thresholds, NaN left out."""
    least = np.inf
    for q in range(first, last):
        if thresholds_Q[_U(q)] < least:  # noqa: PLR1730 - min of NaN is not defined here
            least = thresholds_Q[_U(q)]
    return least


@part
def judge_n_grams(
    tokens_T: NDArray[np.int32],
    num_tokens: int,
    rows_R: NDArray[np.int32],
    document: int,
    chars: int,
    thresholds_Q: NDArray[np.float64],
    values_Q: NDArray[np.float64],
    every: bool,
    scratch: Scratch,
) -> int:
    """Return the first rule of n-grams that a document fails, or -1.

    Args:
        tokens_T: int32, its tokens.
        num_tokens: T.
        rows_R: int32, the lexicon's.
        document: a number that no document before had.
        chars: its length.
        thresholds_Q: float64, that of n-grams of n tokens at 3 + n; NaN disables a rule.
        values_Q: float64, written at the same places: up to the rule that fails those that could not be bounded.
        every: whether all values are wanted.
        scratch: room for T tokens.
    """
    _sum_chars(tokens_T, num_tokens, rows_R, scratch.chars_T)
    top_2, top_3, top_4, found = _bound_tops(tokens_T, num_tokens, scratch)
    may_fail = top_2 / chars > thresholds_Q[5] or top_3 / chars > thresholds_Q[6] or top_4 / chars > thresholds_Q[7]
    counted = every or may_fail
    if counted:
        found = _number_words(tokens_T, num_tokens, document, scratch)
        for n in range(2, 5):
            found, grams = _extend(n, found, tokens_T, num_tokens, scratch)
            values_Q[3 + n] = _top_chars(n, grams, num_tokens, scratch) / chars
            if values_Q[3 + n] > thresholds_Q[3 + n]:
                return 3 + n
    else:
        found = _repeated_fives(tokens_T, found, scratch)
    for n in range(5, 11):
        if n > 5 or counted:
            found, _ = _extend(n, found, tokens_T, num_tokens, scratch)
        duplicate, covered = _duplicate_chars(n, found, scratch)
        values_Q[3 + n] = duplicate / chars
        if values_Q[3 + n] > thresholds_Q[3 + n]:
            return 3 + n
        if not every and covered / chars <= _least(thresholds_Q, 4 + n, 14):  # longer n-grams repeat only in there
            break
    return -1
