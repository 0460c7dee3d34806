"""Values of JSON: checked and copied without white space, strings unescaped or as orjson would write them.

Each function says what it refuses. RFC 8259 for the grammar, RFC 3629 for UTF-8.

Shapes: M bytes.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.loads import eight_bytes, put_eight_bytes
from transforms.kernels.utf8 import put_code_point

_MAX_DEPTH = 64
_MAX_NUMBER = 40  # characters, and two digits of exponent: no number that is infinite, or long enough to be refused

_U = np.uint64
_LOW_BITS, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SPACES, _QUOTES, _BACKSLASHES = (_LOW_BITS * np.uint64(byte) for byte in (0x20, 0x22, 0x5C))

FEED, _SPACE, QUOTE, _PLUS, COMMA, _MINUS, _POINT, _SLASH = 0x0A, 0x20, 0x22, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F
_ZERO, _NINE, COLON, _BACKSLASH, _E, _F, NULL, _T, _U16 = 0x30, 0x39, 0x3A, 0x5C, 0x65, 0x66, 0x6E, 0x74, 0x75
OPEN, CLOSE, _OPEN_LIST, _CLOSE_LIST = 0x7B, 0x7D, 0x5B, 0x5D
_LITERALS = np.frombuffer(b"truenullfalse", np.uint8)

_MEANT = np.zeros(256, np.uint8)  # what a letter behind a backslash stands for
for _letter, _meaning in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _MEANT[_letter] = _meaning
_DIGIT = np.full(256, 16, np.uint8)  # of a hexadecimal number; 16 for what is none
_DIGIT[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = [*range(16), *range(10, 16)]

# How a string was written: without escapes, with those that orjson writes, with others.
NO_ESCAPE, SAME_ESCAPES, OTHER_ESCAPES = 0, 1, 2


@part
def after_space(block_M: NDArray[np.uint8], i: int) -> int:
    """Return where the next byte is that is no white space within a line."""
    byte = block_M[_U(i)]
    while byte == _SPACE or byte == 0x09 or byte == 0x0D:  # noqa: PLR1714 - numba would build a set
        i += 1
        byte = block_M[_U(i)]
    return i


@part
def is_at(block_M: NDArray[np.uint8], i: int, words_M: NDArray[np.uint8], start: int, stop: int) -> bool:
    """Whether the bytes from `i` on are `words_M[start:stop]`, which has no line feed."""
    k = start
    while k < stop and block_M[_U(i + k - start)] == words_M[_U(k)]:
        k += 1
    return k == stop


@part
def _unit(block_M: NDArray[np.uint8], i: int) -> int:
    """Return the UTF-16 code unit of the four hexadecimal digits from `i` on, or -1."""
    unit = 0
    for k in range(4):
        digit = _DIGIT[block_M[_U(i + k)]]
        if digit > 15:
            return -1
        unit = unit << 4 | digit
    return unit


@part
def _escaped(block_M: NDArray[np.uint8], i: int) -> tuple[int, int]:
    r"""Return the code point of the `\u` before `i` and where it ends; -1 if it is none, or half a surrogate pair."""
    unit = _unit(block_M, i)
    i += 4
    if unit < 0xD800 or unit > 0xDFFF:
        return unit, i
    if unit > 0xDBFF or block_M[_U(i)] != _BACKSLASH or block_M[_U(i + 1)] != _U16:
        return -1, i
    low = _unit(block_M, i + 2)
    if low < 0xDC00 or low > 0xDFFF:
        return -1, i
    return 0x10000 + ((unit - 0xD800) << 10 | (low - 0xDC00)), i + 6


@part
def _copy_wide(block_M: NDArray[np.uint8], i: int, out_M: NDArray[np.uint8], o: int) -> int:
    """Copy the character beyond ASCII at `i` and return its width, 0 if it is no UTF-8."""
    first, second = block_M[_U(i)], block_M[_U(i + 1)]
    out_M[_U(o)], out_M[_U(o + 1)] = first, second
    if second & 0xC0 != 0x80 or first < 0xC2:
        return 0
    if first < 0xE0:
        return 2
    third = block_M[_U(i + 2)]
    out_M[_U(o + 2)] = third
    if third & 0xC0 != 0x80:
        return 0
    if first < 0xF0:
        is_overlong, is_surrogate = first == 0xE0 and second < 0xA0, first == 0xED and second > 0x9F
        return 0 if is_overlong or is_surrogate else 3
    fourth = block_M[_U(i + 3)]
    out_M[_U(o + 3)] = fourth
    is_overlong, is_too_high = first == 0xF0 and second < 0x90, first > 0xF4 or (first == 0xF4 and second > 0x8F)
    return 0 if is_overlong or is_too_high or fourth & 0xC0 != 0x80 else 4


@part
def _special(word: np.uint64) -> np.uint64:
    """Return a number whose lowest bit stands in the first quote, backslash, control or byte beyond ASCII of eight."""
    special = (word - _SPACES) | ((word ^ _QUOTES) - _LOW_BITS) | ((word ^ _BACKSLASHES) - _LOW_BITS) | word
    return special & _HIGH_BITS


@part
def copy_string(
    block_M: NDArray[np.uint8], i: int, out_M: NDArray[np.uint8], o: int, unescaped: int
) -> tuple[int, int, int]:
    """Copy the string behind the quote before `i`; its escapes become what they stand for, or stay.

    Returns:
        Where it ends behind its quote, or -1 for a string that never ends in its line, a control character, bytes that
        are no UTF-8, an escape that is none and half a surrogate pair; where it ends in `out_M`; how it was written.
    """
    last = len(block_M) - 8
    written = NO_ESCAPE
    while True:
        while i <= last:
            word = eight_bytes(block_M, _U(i))
            put_eight_bytes(out_M, _U(o), word)  # all eight: what comes behind the plain ones is written over
            special = _special(word)
            if special:
                before = ((special & (_U(0) - special)) >> _U(7)) - _U(1)
                plain = int(((before & _LOW_BITS) * _LOW_BITS) >> _U(56))
                i += plain
                o += plain
                break
            i += 8  # not by `plain`: the next load would wait for it, 0.72 instead of 0.35 ms a MB
            o += 8
        byte = block_M[_U(i)]
        if byte == QUOTE:
            return i + 1, o, written
        if byte == _BACKSLASH:
            start = i
            letter = block_M[_U(i + 1)]
            code = int(_MEANT[letter])
            i += 2
            if letter == _U16:
                code, i = _escaped(block_M, i)
                if code < 0:
                    return -1, o, written
            elif code == 0:
                return -1, o, written
            is_same = code != 0 and letter != _U16 and letter != _SLASH  # noqa: PLR1714
            written = max(written, SAME_ESCAPES if is_same else OTHER_ESCAPES)
            if unescaped:
                o = put_code_point(out_M, o, code)
            else:
                while start < i:
                    out_M[_U(o)] = block_M[_U(start)]
                    start += 1
                    o += 1
        elif byte < _SPACE:
            return -1, o, written
        elif byte < 0x80:  # of the last seven bytes of the block
            out_M[_U(o)] = byte
            i += 1
            o += 1
        else:
            while byte >= 0x80:
                width = _copy_wide(block_M, i, out_M, o)
                if width == 0:
                    return -1, o, written
                i += width
                o += width
                byte = block_M[_U(i)]


@part
def _copy_digits(block_M: NDArray[np.uint8], i: int, out_M: NDArray[np.uint8], o: int) -> int:
    """Copy decimal digits and return how many there are."""
    start = i
    while _ZERO <= block_M[_U(i)] <= _NINE:
        out_M[_U(o + i - start)] = block_M[_U(i)]
        i += 1
    return i - start


@part
def _number(block_M: NDArray[np.uint8], i: int, out_M: NDArray[np.uint8], o: int) -> tuple[int, bool]:
    """Copy the number at `i`.

    Returns:
        Its characters, 0 if it is none or a long one; and whether orjson would write it so. It does with integers of 18
        digits, and with decimals of 15: no two of them are the same double, so none has a shorter equal. Below 0.01
        and with an exponent it may write another one.
    """
    n = 0
    is_negative = block_M[_U(i)] == _MINUS
    if is_negative:
        out_M[_U(o)] = _MINUS
        n = 1
    whole = _copy_digits(block_M, i + n, out_M, o + n)
    is_zero = block_M[_U(i + n)] == _ZERO
    n += whole
    if whole == 0 or (is_zero and whole > 1):
        return 0, False
    same = whole <= 18 and not (is_zero and is_negative)
    if block_M[_U(i + n)] == _POINT:
        out_M[_U(o + n)] = _POINT
        n += 1
        decimals = _copy_digits(block_M, i + n, out_M, o + n)
        if decimals == 0:
            return 0, False
        is_small = is_zero and decimals > 2 and block_M[_U(i + n)] == _ZERO and block_M[_U(i + n + 1)] == _ZERO
        n += decimals
        is_round = decimals > 1 and block_M[_U(i + n - 1)] == _ZERO
        same = whole + decimals <= 15 and not is_small and not is_round
    if block_M[_U(i + n)] | 0x20 == _E:
        same = False
        out_M[_U(o + n)] = _E
        n += 1
        sign = block_M[_U(i + n)]
        if sign == _MINUS or sign == _PLUS:  # noqa: PLR1714, SIM109
            out_M[_U(o + n)] = sign
            n += 1
        digits = _copy_digits(block_M, i + n, out_M, o + n)
        if digits == 0 or digits > 2:
            return 0, False
        n += digits
    return (0, False) if n > _MAX_NUMBER else (n, same)


@part
def copy_literal(block_M: NDArray[np.uint8], i: int, out_M: NDArray[np.uint8], o: int) -> int:
    """Copy `true`, `null` or `false` and return how many characters it has, 0 if there is none."""
    first = block_M[_U(i)]
    start = 0 if first == _T else 4 if first == NULL else 8
    stop = start + (5 if first == _F else 4)
    if not is_at(block_M, i, _LITERALS, start, stop):
        return 0
    for k in range(start, stop):
        out_M[_U(o + k - start)] = _LITERALS[_U(k)]
    return stop - start


@part
def copy_value(block_M: NDArray[np.uint8], i: int, out_M: NDArray[np.uint8], o: int) -> tuple[int, int, bool]:
    """Copy the value at `i` without the white space between its tokens.

    Returns:
        Where it ends, or -1 if it is none or nested deeper than _MAX_DEPTH; where it ends in `out_M`; and whether
        orjson would write it so. The keys of an object within are not compared, so that it is never certain.
    """
    depth, objects, same = 0, _U(0), True  # a bit for each open bracket, the innermost lowest: whether it is an object
    while True:
        byte = block_M[_U(i)]
        is_first = byte == OPEN or byte == _OPEN_LIST  # noqa: PLR1714
        if is_first:
            if depth == _MAX_DEPTH:
                return -1, o, False
            depth += 1
            objects = objects << _U(1) | _U(byte == OPEN)
            same &= byte != OPEN
            out_M[_U(o)] = byte
            i += 1
            o += 1
        elif byte == QUOTE:
            out_M[_U(o)] = QUOTE
            i, o, written = copy_string(block_M, i + 1, out_M, o + 1, 0)
            if i < 0:
                return -1, o, False
            same &= written != OTHER_ESCAPES
            out_M[_U(o)] = QUOTE
            o += 1
        else:
            n, is_same = copy_literal(block_M, i, out_M, o), True
            if n == 0:
                n, is_same = _number(block_M, i, out_M, o)
            if n == 0:
                return -1, o, False
            same &= is_same
            i += n
            o += n
        while depth:
            i = after_space(block_M, i)
            byte = block_M[_U(i)]
            if byte != (CLOSE if objects & _U(1) else _CLOSE_LIST):
                break
            depth -= 1
            objects >>= _U(1)
            is_first = False
            out_M[_U(o)] = byte
            i += 1
            o += 1
        if depth == 0:
            return i, o, same
        if not is_first:
            if byte != COMMA:
                return -1, o, False
            out_M[_U(o)] = COMMA
            o += 1
            i = after_space(block_M, i + 1)
        if objects & _U(1):
            if block_M[_U(i)] != QUOTE:
                return -1, o, False
            out_M[_U(o)] = QUOTE
            i, o, _ = copy_string(block_M, i + 1, out_M, o + 1, 0)
            if i < 0:
                return -1, o, False
            i = after_space(block_M, i)
            if block_M[_U(i)] != COLON:
                return -1, o, False
            out_M[_U(o)], out_M[_U(o + 1)] = QUOTE, COLON
            o += 2
            i = after_space(block_M, i + 1)
