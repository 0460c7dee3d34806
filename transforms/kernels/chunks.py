"""Splitting a chunk that the lexicon does not know: its pieces by the token rules, exceptions first.

Shapes: K characters of the chunk, P pieces.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import AFFIX, ALONE, ALPHA, COMBINING, CURRENCY_SIGN, HOST, PREFIX
from transforms.kernels.english import EXCEPTIONS
from transforms.kernels.jit import allocating_part, part, wide
from transforms.kernels.lexicon import (
    CHARS,
    FIRST,
    FLAGS,
    IS_EXCEPTION,
    LENGTH,
    NUM_TOKENS,
    TOKENS,
    Lexicon,
    Splitting,
    exception_pair,
    find,
    hash_bytes,
    intern,
    summarise,
)
from transforms.kernels.tokens import infix_length, is_url, prefix_length, suffix_length
from transforms.kernels.utf8 import code_point

HAS_DIGIT, HAS_DOT = 1, 2

_ALONE, _INSIDE = -1, -2
_MOST_MERGED = 4096  # pieces of a chunk; eight megabytes of smileys in one chunk took 20 s, and say nothing
_LONGEST_EXCEPTION = max(map(len, EXCEPTIONS))
assert _LONGEST_EXCEPTION < 16  # bits of lengths_F
_U = np.uint64


@part
def _may_be_exception(lengths_F: NDArray[np.uint16], codes_K: NDArray[np.int32], start: int, stop: int) -> bool:
    """Whether an exception begins and ends like characters `start` to `stop` of a chunk and is as long."""
    if not 0 < stop - start <= _LONGEST_EXCEPTION:
        return False
    return lengths_F[exception_pair(codes_K[start], codes_K[stop - 1])] >> (stop - start) & 1 != 0


@part
def _exception(lexicon: Lexicon, text: NDArray[np.uint8], places_K1: NDArray[np.int64], start: int, stop: int) -> int:
    """Return the row of an exception that characters `start` to `stop` of a chunk are, or -1."""
    first, last = places_K1[start], places_K1[stop]
    state = hash_bytes(text, first, last)
    row = find(lexicon.rows_R, lexicon.bytes_A, lexicon.slots_S, text, first, last - first, state)
    return row if row >= 0 and lexicon.rows_R[row, FLAGS] & IS_EXCEPTION else -1


@part
def _is_plain(code: int, flags: int) -> bool:
    """Whether a character is a letter or digit of ASCII: few prefixes and suffixes, and no infix, begin with one."""
    return code < 0x80 and flags & HOST != 0


@part
def _pieces(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    places_K1: NDArray[np.int64],
    codes_K: NDArray[np.int32],
    flags_K: NDArray[np.uint16],
    start: int,
    stop: int,
    seen: int,
    heed: int,
    bounds_P1: NDArray[np.int64],
) -> int:
    """Write where the pieces of characters `start` to `stop` begin, and `stop`; return the number of pieces.

    `seen` says what the chunk has (HAS_DIGIT, HAS_DOT), and so which rules need not be tried; `heed` is 0 if exceptions
    are cut like other strings. Pieces that come off in front are written from the left. Those that come off behind
    are written from the right end of `bounds_P1`, and moved down when the middle is known.
    """
    lengths_F = lexicon.lengths_F
    left, right = 0, len(bounds_P1)
    end = stop
    bounds_P1[0] = start
    middle = -1
    while start < end:
        if heed and _may_be_exception(lengths_F, codes_K, start, end):
            middle = _exception(lexicon, text, places_K1, start, end)
            if middle >= 0:
                break
        prefix = suffix = 0
        if flags_K[start] & (AFFIX | PREFIX | CURRENCY_SIGN):
            prefix = 1
        elif not _is_plain(codes_K[start], flags_K[start]) or codes_K[start] in (0x41, 0x43, 0x55):  # A C U
            prefix = prefix_length(codes_K, flags_K, start, end)
        if start + prefix < end:
            code, flags = codes_K[end - 1], flags_K[end - 1]
            if (
                seen & HAS_DIGIT
                or code | 0x20 == 0x73
                or not (flags & AFFIX or _is_plain(code, flags))
                or code == 0x2026
            ):
                suffix = suffix_length(codes_K, flags_K, start + prefix, end)
            elif flags & AFFIX:
                suffix = 1
        if prefix and heed and _may_be_exception(lengths_F, codes_K, start + prefix, end):
            middle = _exception(lexicon, text, places_K1, start + prefix, end)
            if middle >= 0:
                suffix = 0
        if suffix and heed and _may_be_exception(lengths_F, codes_K, start, end - suffix):
            middle = _exception(lexicon, text, places_K1, start, end - suffix)
            if middle >= 0:
                prefix = 0
        if prefix:
            start += prefix
            left += 1
            bounds_P1[left] = start
        if suffix:
            right -= 1
            bounds_P1[right] = end
            end -= suffix
        if middle >= 0 or prefix + suffix == 0:
            break
    if middle >= 0:
        row = lexicon.rows_R[middle]
        at = start
        for k in range(row[TOKENS]):
            at += lexicon.rows_R[lexicon.tokens_T[row[FIRST] + k], CHARS]
            left += 1
            bounds_P1[left] = at
    elif start < end:
        if not (seen & HAS_DOT and is_url(codes_K, flags_K, start, end)):
            i = start
            while i < end:
                infix = 0
                if not _is_plain(codes_K[i], flags_K[i]):
                    infix = infix_length(codes_K, flags_K, start, i, end)
                if infix and i > start:
                    if i > bounds_P1[left]:
                        left += 1
                        bounds_P1[left] = i
                    left += 1
                    bounds_P1[left] = i + infix
                i += max(infix, 1)
        if bounds_P1[left] < end:
            left += 1
            bounds_P1[left] = end
    for k in range(right, len(bounds_P1)):
        left += 1
        bounds_P1[left] = bounds_P1[k]
    return left


@part
def _pieces_by_character(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    places_K1: NDArray[np.int64],
    codes_K: NDArray[np.int32],
    flags_K: NDArray[np.uint16],
    seen: int,
    bounds_P1: NDArray[np.int64],
) -> int:
    """Write the pieces of a whole chunk as `_pieces` does: a character that is ALONE is one, with marks behind it."""
    pieces = start = 0
    stop = len(codes_K)
    bounds_P1[0] = 0
    while start < stop:
        end = start
        if flags_K[start] & ALONE == ALONE:
            end += 1
            while end < stop and flags_K[end] & COMBINING == COMBINING:
                end += 1
            pieces += 1
            bounds_P1[pieces] = end
        else:
            while end < stop and flags_K[end] & ALONE != ALONE:
                end += 1
            room_P1 = bounds_P1[pieces : pieces + 2 * (end - start) + 2]
            pieces += _pieces(
                lexicon, text, places_K1, codes_K, flags_K, wide(start), wide(end), seen, wide(1), room_P1
            )
        start = end
    return pieces


@part
def _merge(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    places_K1: NDArray[np.int64],
    codes_K: NDArray[np.int32],
    flags_K: NDArray[np.uint16],
    bounds_P1: NDArray[np.int64],
    pieces: int,
    seen: int,
    merged_P: NDArray[np.int64],
    again_P1: NDArray[np.int64],
) -> bool:
    """Write for each piece the row of the exception that begins with it, _INSIDE if it goes on with it, or _ALONE.

    Neighbouring pieces make up an exception if they are cut as it would be cut itself; the longest come first. If there
    is none, nothing is written and False returned.
    """
    lengths_F, none, found = lexicon.lengths_F, wide(0), False
    if pieces > _MOST_MERGED:
        return False
    for size in range(min(pieces, _LONGEST_EXCEPTION), 1, -1):
        for first in range(pieces - size + 1):
            left, right = bounds_P1[first], bounds_P1[first + size]
            if not _may_be_exception(lengths_F, codes_K, left, right):
                continue
            exception = _exception(lexicon, text, places_K1, left, right)
            if exception < 0:
                continue
            if not found:
                found = True
                for k in range(pieces):
                    merged_P[k] = _ALONE
            same = _pieces(lexicon, text, places_K1, codes_K, flags_K, left, right, seen, none, again_P1) == size
            for k in range(size):
                same = same and again_P1[k] == bounds_P1[first + k] and merged_P[first + k] == _ALONE
            if same:
                for k in range(first, first + size):
                    merged_P[k] = exception if k == first else _INSIDE
    return found


@part
def learn(lexicon: Lexicon, text: NDArray[np.uint8], start: int, size: int, state: np.uint64) -> int:
    """Enter the chunk text[start:start + size] with hash `state`, split it and return its row.

    A negative number is that of a full array. One call for both: passing on the lexicon's arrays takes 100 ns.
    """
    row = intern(lexicon, text, start, size, state)
    full = 0 if row < 0 else split(lexicon, text, start, row)
    return full if full < 0 else row


@part
def split(lexicon: Lexicon, text: NDArray[np.uint8], start: int, row: int) -> int:
    """Split the chunk at text[start:] and fill its row; return 0, or a negative number if an array is full."""
    if lexicon.rows_R[_U(row), CHARS] > len(lexicon.splitting.codes_K):
        return _split_long(lexicon, text, start, row)
    return _split(lexicon, text, start, row, lexicon.splitting)


@allocating_part
def _split_long(lexicon: Lexicon, text: NDArray[np.uint8], start: int, row: int) -> int:
    chars = lexicon.rows_R[row, CHARS]
    splitting = Splitting(
        np.empty(chars + 1, np.int64),
        np.empty(chars, np.int32),
        np.empty(chars, np.uint16),
        np.empty(2 * chars + 2, np.int64),
        np.empty(chars, np.int64),
        lexicon.splitting.again_P1,
    )
    return _split(lexicon, text, start, row, splitting)


@part
def _split(lexicon: Lexicon, text: NDArray[np.uint8], start: int, row: int, splitting: Splitting) -> int:
    rows_R, tokens_T, flags_C = lexicon.rows_R, lexicon.tokens_T, lexicon.flags_C
    chars, stop = wide(rows_R[row, CHARS]), start + rows_R[row, LENGTH]
    num_tokens = lexicon.used[NUM_TOKENS]
    places_K1, merged_P = splitting.places_K1, splitting.merged_P
    codes_K, flags_K = splitting.codes_K[:chars], splitting.flags_K[:chars]
    plain, alone, seen = True, False, 0
    i = start
    for k in range(chars):
        code, width = code_point(text, i, stop)
        places_K1[k], codes_K[k], flags_K[k] = i, code, flags_C[code]
        plain &= flags_K[k] & (ALPHA | AFFIX) == ALPHA
        alone |= flags_K[k] & ALONE == ALONE
        if 0x30 <= code <= 0x39:
            seen |= HAS_DIGIT
        if code == 0x2E:
            seen |= HAS_DOT
        i += width
    places_K1[chars] = stop
    if plain and (not alone or chars == 1):  # half of all chunks
        if num_tokens == len(tokens_T):
            return -NUM_TOKENS
        tokens_T[num_tokens] = row
        summarise(lexicon, row, num_tokens, wide(1))
        return 0
    bounds_P1 = splitting.bounds_P1[: 2 * chars + 2]
    if alone:
        pieces = _pieces_by_character(lexicon, text, places_K1, codes_K, flags_K, seen, bounds_P1)
    else:
        pieces = _pieces(lexicon, text, places_K1, codes_K, flags_K, wide(0), chars, seen, wide(1), bounds_P1)
    merged = _merge(lexicon, text, places_K1, codes_K, flags_K, bounds_P1, pieces, seen, merged_P, splitting.again_P1)
    count = k = 0
    while k < pieces:
        exception = merged_P[k] if merged else _ALONE
        size = rows_R[exception, TOKENS] if exception >= 0 else 1
        if num_tokens + count + size > len(tokens_T):
            return -NUM_TOKENS
        if exception >= 0:
            for j in range(size):
                tokens_T[num_tokens + count + j] = tokens_T[rows_R[exception, FIRST] + j]
            k += 1
            while k < pieces and merged_P[k] == _INSIDE:
                k += 1
        else:
            first, last = places_K1[bounds_P1[k]], places_K1[bounds_P1[k + 1]]
            token = intern(lexicon, text, first, last - first, hash_bytes(text, first, last))
            if token < 0:
                return token
            tokens_T[num_tokens + count] = token
            k += 1
        count += size
    summarise(lexicon, row, num_tokens, count)
    return 0
