"""IP addresses in text: where those of both versions begin and end, and which are public."""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, part
from transforms.kernels.pii_classes import DIGIT, HEX, is_a, is_word

_U = np.uint64

# First addresses and those behind the last of the networks that are not public (IANA special-purpose registry).
_PRIVATE = np.array(
    [
        (0x00000000, 0x01000000), (0x0A000000, 0x0B000000), (0x64400000, 0x64800000), (0x7F000000, 0x80000000),
        (0xA9FE0000, 0xA9FF0000), (0xAC100000, 0xAC200000), (0xC0000000, 0xC0000009), (0xC000000B, 0xC0000100),
        (0xC0000200, 0xC0000300), (0xC0A80000, 0xC0A90000), (0xC6120000, 0xC6140000), (0xC6336400, 0xC6336500),
        (0xCB007100, 0xCB007200), (0xF0000000, 0x100000000),
    ],
    np.int64,
)  # fmt: skip


@part
def _octet(text: NDArray[np.uint8], i: int, stop: int) -> int:
    """Return the length of the longest number up to 255 at `i`, or 0."""
    value = length = 0
    while length < 3 and is_a(text, i + length, i, stop, DIGIT) and value * 10 + text[_U(i + length)] - 0x30 <= 255:
        value = value * 10 + text[_U(i + length)] - 0x30
        length += 1
    return length


@part
def ipv4(text: NDArray[np.uint8], first: int, stop: int) -> tuple[int, bool]:
    """Return the end of the four dotted numbers at `first` (or 0), and whether they are a public address."""
    i, address, proper = first, 0, True
    for n in range(4):
        length = _octet(text, i, stop)
        if length == 0 or (n < 3 and (i + length == stop or text[_U(i + length)] != 0x2E)):
            return 0, False
        value = 0
        for k in range(i, i + length):
            value = value * 10 + text[_U(k)] - 0x30
        proper = proper and (length == 1 or text[_U(i)] != 0x30)
        address = address << 8 | value
        i += length + (n < 3)
    for n in range(len(_PRIVATE)):
        proper = proper and not _PRIVATE[n, 0] <= address < _PRIVATE[n, 1]
    return i, proper


@part
def ipv6(
    text: NDArray[np.uint8], start: int, floor: int, colon: int, stop: int, words_C: NDArray[np.bool_]
) -> tuple[int, int, bool]:
    """Return start and end of the IPv6 address around the colon at `colon` (or 0, 0), and whether it is public."""
    left, right = colon, colon
    while left > max(floor, colon - 46) and (is_a(text, left - 1, start, stop, HEX) or text[_U(left - 1)] == 0x3A):
        left -= 1
    while right < min(stop, colon + 46) and (is_a(text, right, start, stop, HEX) or text[_U(right)] in (0x2E, 0x3A)):
        right += 1
    if right - left > 45 or is_word(text, left - 1, start, stop, words_C) or is_word(text, right, start, stop, words_C):
        return 0, 0, False
    while right > left and (
        text[_U(right - 1)] == 0x2E
        or (text[_U(right - 1)] == 0x3A and (right - left < 2 or text[_U(right - 2)] != 0x3A))
    ):
        right -= 1
    groups, gap, top, i = 0, False, 0, left
    while i < right:
        if text[_U(i)] == 0x3A:
            double = i + 1 < right and text[_U(i + 1)] == 0x3A
            if double and gap:
                return 0, 0, False
            if not double and (i == left or groups == 0):
                return 0, 0, False
            if double:
                gap = True
                if groups < 2:
                    top <<= 16 * (2 - groups)
            i += 1 + double
            if i == right and not double:
                return 0, 0, False
            if i < right and text[_U(i)] == 0x3A:
                return 0, 0, False
            continue
        value = digits = 0
        group = i
        while is_a(text, i, left, right, HEX):
            value = value << 4 | _nibble(text[_U(i)])
            digits += 1
            i += 1
        if i < right and text[_U(i)] == 0x2E:
            end, _ = ipv4(text, group, right)
            if end != right:
                return 0, 0, False
            groups += 2
            break
        if digits == 0 or digits > 4:
            return 0, 0, False
        if groups < 2 and not gap:
            top = top << 16 | value
        groups += 1
    if not (groups == 8 and not gap) and not (gap and groups < 8):
        return 0, 0, False
    public = top >> 29 == 1 and top >> 9 != 0x20010000 >> 9 and top != 0x20010DB8
    return left, right, public and top >> 16 != 0x2002 and top >> 12 != 0x3FFF0


@inlined
def _nibble(byte: int) -> int:
    return byte - 0x30 if byte < 0x40 else (byte | 0x20) - 0x57
