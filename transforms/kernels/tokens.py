"""Splitting a chunk (a run of characters without white space) into the tokens of the English rules.

Prefixes and suffixes are stripped from both ends, one each at a time, until the rest is one of `english.EXCEPTIONS` or
has none; the rest is kept whole if it is an exception or a URL, and split at infixes otherwise. The rules are those of
spaCy's blank `en` tokeniser, written as loops over character classes: of 390,374 different chunks of ten corpora in
five languages, spaCy 3.8 splits all as we do.

Shapes: K characters of a chunk, P pieces.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import (
    AFFIX,
    ALPHA,
    BEFORE_DOT,
    CURRENCY_SIGN,
    HOST,
    LOWER,
    PREFIX,
    QUOTE,
    SYMBOL,
    UNITS,
    UPPER,
)
from transforms.kernels.jit import part

_LONGEST_UNIT = max(map(len, UNITS))
_UNITS_UK = np.zeros((len(UNITS), _LONGEST_UNIT), np.int32)
for _row, _unit in enumerate(UNITS):
    _UNITS_UK[_row, : len(_unit)] = [ord(_char) for _char in _unit]

_DOT, _APOSTROPHE, _CURLY, _ELLIPSIS, _DEGREE, _EM_DASH = 0x2E, 0x27, 0x2019, 0x2026, 0xB0, 0x2014


@part
def _is_digit(code: int) -> bool:
    return 0x30 <= code <= 0x39


@part
def _run(codes_K: NDArray[np.int32], start: int, stop: int) -> int:
    """Return how often the character at `start` follows itself before `stop`."""
    end = start
    while end < stop and codes_K[end] == codes_K[start]:
        end += 1
    return end - start


@part
def prefix_length(codes_K: NDArray[np.int32], flags_K: NDArray[np.uint16], start: int, stop: int) -> int:
    """Return the length of the prefix of a chunk, or 0."""
    code = codes_K[start]
    if flags_K[start] & (AFFIX | PREFIX | CURRENCY_SIGN):
        return 1
    if code == _DOT:
        dots = _run(codes_K, start, stop)
        return dots if dots > 1 else 0
    if code == 0x2B:  # +
        return 0 if start + 1 < stop and _is_digit(codes_K[start + 1]) else 1
    return _dollar(codes_K, start, stop)


@part
def _dollar(codes_K: NDArray[np.int32], start: int, stop: int) -> int:
    """Return the length of `US$`, `C$` or `A$` at `start`, or 0."""
    code = codes_K[start]
    if start + 2 < stop and code == 0x55 and codes_K[start + 1] == 0x53 and codes_K[start + 2] == 0x24:
        return 3
    if start + 1 < stop and (code == 0x41 or code == 0x43) and codes_K[start + 1] == 0x24:  # noqa: PLR1714
        return 2
    return 0


@part
def suffix_length(codes_K: NDArray[np.int32], flags_K: NDArray[np.uint16], start: int, stop: int) -> int:
    """Return the length of the longest suffix of a chunk, or 0; only characters from `start` on are looked at."""
    last = stop - 1
    code = codes_K[last]
    before = codes_K[last - 1] if last > start else 0
    best = 1 if flags_K[last] & AFFIX else 0
    if code == _DOT:
        dots = last
        while dots > start and codes_K[dots - 1] == _DOT:
            dots -= 1
        if dots < last:
            best = stop - dots
        elif last > start:
            two_capitals = last - start > 1 and flags_K[last - 1] & UPPER and flags_K[last - 2] & UPPER
            degrees = last - start > 1 and codes_K[last - 2] == _DEGREE and (before | 0x20) in (0x63, 0x66, 0x6B)
            if two_capitals or degrees or flags_K[last - 1] & BEFORE_DOT:
                best = 1
    elif before == code == _ELLIPSIS or (code | 0x20 == 0x73 and before in (_APOSTROPHE, _CURLY)):
        best = 2
    elif _is_digit(before) and (code == 0x2B or flags_K[last] & CURRENCY_SIGN):
        best = 1
    for size in range(min(3, last - start), 1, -1):
        if _is_digit(codes_K[stop - size - 1]) and _dollar(codes_K, stop - size, stop) == size:
            best = max(best, size)
    for size in range(min(_LONGEST_UNIT, last - start), best, -1):
        if _is_digit(codes_K[stop - size - 1]) and _is_unit(codes_K, stop - size, stop):
            return size
    return best


@part
def _is_unit(codes_K: NDArray[np.int32], start: int, stop: int) -> bool:
    for row in range(len(_UNITS_UK)):
        same = stop - start == _LONGEST_UNIT or _UNITS_UK[row, stop - start] == 0
        for k in range(start, stop):
            same &= codes_K[k] == _UNITS_UK[row, k - start]
        if same:
            return True
    return False


@part
def infix_length(codes_K: NDArray[np.int32], flags_K: NDArray[np.uint16], start: int, i: int, stop: int) -> int:
    """Return the length of the infix at character `i` of the chunk from `start` to `stop`, or 0."""
    code = codes_K[i]
    if flags_K[i] & SYMBOL:
        return 1
    run = _run(codes_K, i, stop if code == _DOT else min(stop, i + 4))  # no rule asks for longer ones
    if code == _DOT and run > 1:
        return run
    if i == start:
        return 0
    operator = code == 0x2A or code == 0x2B or code == 0x2D or code == 0x5E  # noqa: PLR1714
    if (
        operator
        and i + 1 < stop
        and _is_digit(codes_K[i - 1])
        and (_is_digit(codes_K[i + 1]) or codes_K[i + 1] == 0x2D)
    ):
        return 1
    if i + run == stop:
        return 0
    before, after = flags_K[i - 1], flags_K[i + run]
    if run == 1 and code == _DOT and before & (LOWER | QUOTE) and after & (UPPER | QUOTE):
        return 1
    if run == 1 and code == 0x2C and before & ALPHA and after & ALPHA:
        return 1
    if after & ALPHA and (before & ALPHA or _is_digit(codes_K[i - 1])):
        if run == 1 and code in (0x3A, 0x3C, 0x3E, 0x3D, 0x2F, 0x7E, 0x2013):
            return 1
        if (code == 0x2D and run <= 3) or (code == _EM_DASH and run <= 2):
            return run
    return 0


@part
def is_url(codes_K: NDArray[np.int32], flags_K: NDArray[np.uint16], start: int, stop: int) -> bool:
    """Whether a chunk is a URL: [scheme://] [user@] host [:port] [/path, ?query or #fragment]."""
    if _is_host(codes_K, flags_K, start, stop):
        return True
    i = start
    while i < stop and (flags_K[i] & ALPHA or _is_digit(codes_K[i]) or codes_K[i] in (0x5F, 0x2B, 0x2D, 0x2E)):
        i += 1
    scheme = i - start > 1 and i + 3 < stop and codes_K[i] == 0x3A and codes_K[i + 1] == 0x2F and codes_K[i + 2] == 0x2F
    found = scheme and _is_host(codes_K, flags_K, i + 3, stop)
    for at in range(start + 1, stop - 1):
        found = found or (codes_K[at] == 0x40 and _is_host(codes_K, flags_K, at + 1, stop))
    return found


@part
def _is_host(codes_K: NDArray[np.int32], flags_K: NDArray[np.uint16], start: int, stop: int) -> bool:
    """Whether a host name or a public IPv4 address starts here, and after it at most a port and a path."""
    i, labels = start, 0
    while True:
        label = i
        lower = True
        while i < stop and (flags_K[i] & HOST or codes_K[i] == 0x5F or codes_K[i] == 0x2D):
            lower &= flags_K[i] & LOWER != 0
            i += 1
        if i < stop and codes_K[i] == _DOT:
            if i == label or i - label > 64 or not (flags_K[label] & HOST and flags_K[i - 1] & HOST):
                return False
            labels += 1
            i += 1
            continue
        named = lower and labels > 0 and 2 <= i - label <= 63
        return (named or (labels == 3 and _is_address(codes_K, start, i))) and _is_path(codes_K, i, stop)


@part
def _is_path(codes_K: NDArray[np.int32], start: int, stop: int) -> bool:
    """Whether what follows a host is nothing, a port, or a path, in this order."""
    i = start
    if i < stop and codes_K[i] == 0x3A:
        i += 1
        while i < stop and _is_digit(codes_K[i]):
            i += 1
        if not 3 <= i - start <= 6:
            return False
    return i == stop or codes_K[i] == 0x2F or codes_K[i] == 0x3F or codes_K[i] == 0x23


@part
def _is_address(codes_K: NDArray[np.int32], start: int, stop: int) -> bool:
    """Whether these characters are a public IPv4 address; there are three full stops in them."""
    address, number, parts, digits = 0, 0, 0, 0  # ten bits a part: three digits are at most 999
    for i in range(start, stop):
        if codes_K[i] == _DOT:
            if digits == 0:
                return False
            address, number, parts, digits = address << 10 | number, 0, parts + 1, 0
            continue
        if not _is_digit(codes_K[i]) or digits == 3 or (digits == 0 and codes_K[i] == 0x30 and parts in (0, 3)):
            return False
        number = number * 10 + codes_K[i] - 0x30
        digits += 1
    first, second, third = address >> 20, address >> 10 & 0x3FF, address & 0x3FF
    private = first in (10, 127) or (first == 169 and second == 254) or (first == 192 and second == 168)
    private |= first == 172 and 16 <= second <= 31
    in_range = 1 <= first <= 223 and second <= 255 and third <= 255 and number <= 254
    return digits > 0 and in_range and not private
