"""Decoding and encoding one code point of UTF-8, the inner step of the kernels that look at characters."""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, part

REPLACEMENT = 0xFFFD

_U = np.uint64


@inlined
def code_point(bytes_M: NDArray[np.uint8], position: int, stop: int) -> tuple[int, int]:
    """Return the code point at `position` and its width in bytes; U+FFFD and 1 for a byte that starts none.

    Arrow strings are valid UTF-8, so nothing here is strict: overlong forms and surrogates decode to a code below
    0x110000. What matters is that damaged text never makes a kernel read past `stop` or past a table.
    """
    first = int(bytes_M[position])
    if first < 0x80:
        return first, 1
    left = stop - position
    if 0xC2 <= first < 0xE0 and left > 1:
        return (first & 0x1F) << 6 | (int(bytes_M[position + 1]) & 0x3F), 2
    if 0xE0 <= first < 0xF0 and left > 2:
        second, third = int(bytes_M[position + 1]) & 0x3F, int(bytes_M[position + 2]) & 0x3F
        return (first & 0x0F) << 12 | second << 6 | third, 3
    if 0xF0 <= first < 0xF4 and left > 3:
        second, third = int(bytes_M[position + 1]) & 0x3F, int(bytes_M[position + 2]) & 0x3F
        return (first & 0x07) << 18 | second << 12 | third << 6 | (int(bytes_M[position + 3]) & 0x3F), 4
    if first == 0xF4 and left > 3 and bytes_M[position + 1] < 0x90:
        second, third = int(bytes_M[position + 1]) & 0x3F, int(bytes_M[position + 2]) & 0x3F
        return 0x100000 | second << 12 | third << 6 | (int(bytes_M[position + 3]) & 0x3F), 4
    return REPLACEMENT, 1


@part
def put_code_point(out_M: NDArray[np.uint8], o: int, code: int) -> int:
    """Write a code point as UTF-8 at `o` and return where it ends; there is room for four bytes."""
    if code < 0x80:
        out_M[_U(o)] = code
        return o + 1
    if code < 0x800:
        out_M[_U(o)], out_M[_U(o + 1)] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return o + 2
    low, middle = 0x80 | code & 0x3F, 0x80 | code >> 6 & 0x3F
    if code < 0x10000:
        out_M[_U(o)], out_M[_U(o + 1)], out_M[_U(o + 2)] = 0xE0 | code >> 12, middle, low
        return o + 3
    out_M[_U(o)], out_M[_U(o + 1)] = 0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F
    out_M[_U(o + 2)], out_M[_U(o + 3)] = middle, low
    return o + 4
