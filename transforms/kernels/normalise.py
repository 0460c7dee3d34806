"""White space and control characters of UTF-8 text: one pass that copies what stays.

Line ends (CR LF, CR, vertical tab, form feed, U+0085, U+2028, U+2029) become a line feed; other C0 and C1 controls,
U+00AD and U+FEFF go; white space at line ends and at both ends of a document goes; of more line feeds two stay.

Shapes: N documents, M bytes, C code points.
"""

import unicodedata
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import borrowing, inlined, part
from transforms.kernels.loads import eight_bytes, put_eight_bytes
from transforms.kernels.tables import kept
from transforms.kernels.utf8 import code_point

BLOCK = 32  # bytes looked at together

# numba tests signed indices for negative ones, which costs the vector code: 550 instead of 990 MB/s on short lines.
_U = np.uint64
_NOTHING = np.uint8(0)
_PLAIN = np.ones(256, np.bool_)
_PLAIN[:0x20] = False
_PLAIN[[0x7F, 0xC2, 0xE2, 0xEF]] = False
_LOW_BITS, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SPACES = np.uint64(0x2020202020202020)
_7F, _C2, _E2, _EF = (_LOW_BITS * np.uint64(byte) for byte in (0x7F, 0xC2, 0xE2, 0xEF))


@inlined
def _is_plain(bytes_M: NDArray[np.uint8], start: int) -> bool:
    """Whether no byte of a block starts anything that `clean` must look at; the comparisons compile to vector code."""
    special = False
    for i in range(start, start + BLOCK):
        byte = bytes_M[_U(i)]
        special |= (byte < 0x20) | (byte == 0x7F) | (byte == 0xC2) | (byte == 0xE2) | (byte == 0xEF)
    return not special


@inlined
def _where_zero(word: np.uint64) -> np.uint64:
    """Return a number whose lowest high bit of a byte stands in the first zero byte."""
    return (word - _LOW_BITS) & ~word


@inlined
def _num_plain(word: np.uint64) -> int:
    """Return how many of eight bytes come before the first that `clean` must look at."""
    special = ((word - _SPACES) & ~word) | _where_zero(word ^ _7F) | _where_zero(word ^ _C2)
    special = (special | _where_zero(word ^ _E2) | _where_zero(word ^ _EF)) & _HIGH_BITS
    before = ((special & (_U(0) - special)) >> _U(7)) - _U(1)
    return int(((before & _LOW_BITS) * _LOW_BITS) >> _U(56))


@part
def _is_wide_space(first: int, second: int, third: int) -> bool:
    """Whether three bytes are U+1680, U+2000-200A, U+202F, U+205F or U+3000."""
    if first == 0xE2:
        return (second == 0x80 and (third <= 0x8A or third == 0xAF)) or (second == 0x81 and third == 0x9F)
    return (first == 0xE1 and second == 0x9A and third == 0x80) or (first == 0xE3 and second == 0x80 and third == 0x80)


@part
def _without_trail(out_M: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return the end of out_M[start:stop] without trailing white space other than line feeds."""
    while stop > start:
        last = out_M[stop - 1]
        if last == 0x20 or last == 0x09:  # noqa: PLR1714 - numba would build a set
            stop -= 1
        elif stop - start >= 2 and last == 0xA0 and out_M[stop - 2] == 0xC2:
            stop -= 2
        elif stop - start >= 3 and last >= 0x80 and _is_wide_space(out_M[stop - 3], out_M[stop - 2], last):
            stop -= 3
        else:
            break
    return stop


@part
def _without_indent(out_M: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return the start of out_M[start:stop] without leading white space; there is no line feed in front."""
    while start < stop:
        first = out_M[start]
        if first == 0x20 or first == 0x09:  # noqa: PLR1714
            start += 1
        elif stop - start >= 2 and first == 0xC2 and out_M[start + 1] == 0xA0:
            start += 2
        elif stop - start >= 3 and first >= 0x80 and _is_wide_space(first, out_M[start + 1], out_M[start + 2]):
            start += 3
        else:
            break
    return start


@borrowing
def clean(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    as_is_N: NDArray[np.bool_],
    out_offsets_N1: NDArray[np.int32],
    out_M: NDArray[np.uint8],
) -> None:
    """Write the cleaned documents one after the other into `out_M`.

    Args:
        offsets_N1: int32, see `string_views`.
        bytes_M: uint8, UTF-8; bytes that are not are copied.
        as_is_N: bool, documents that are copied untouched (rejected before).
        out_offsets_N1: int32, written.
        out_M: uint8, written; as long as the input, which the output never exceeds.

    Nothing is allocated; an empty document stays empty. Cost: 0.4 ns a byte inside long lines, 1 ns where a line feed
    or a typographic quotation mark breaks up most blocks.
    """
    o = 0
    out_offsets_N1[0] = 0
    for n in range(len(offsets_N1) - 1):
        i, stop = int(offsets_N1[n]), int(offsets_N1[n + 1])
        start = o
        if as_is_N[n]:
            for k in range(stop - i):
                out_M[o + k] = bytes_M[i + k]
            o += stop - i
            out_offsets_N1[n + 1] = o
            continue
        while i < stop:
            while i + BLOCK <= stop and _is_plain(bytes_M, i):
                for k in range(BLOCK):
                    out_M[_U(o + k)] = bytes_M[_U(i + k)]
                i += BLOCK
                o += BLOCK
            plain = 8
            while plain == 8 and i + 8 <= stop:
                word = eight_bytes(bytes_M, _U(i))
                put_eight_bytes(out_M, _U(o), word)  # all eight: what comes behind the plain ones is written over
                plain = _num_plain(word)
                i += plain
                o += plain
            while i < stop and _PLAIN[bytes_M[_U(i)]]:
                out_M[_U(o)] = bytes_M[_U(i)]
                i += 1
                o += 1
            if i == stop:
                break
            byte = bytes_M[_U(i)]
            second = bytes_M[_U(i + 1)] if i + 1 < stop else _NOTHING
            third = bytes_M[_U(i + 2)] if i + 2 < stop else _NOTHING
            width = 1
            line_end = drop = False
            if byte < 0x20:
                line_end = 0x0A <= byte <= 0x0D
                drop = byte != 0x09
                width += byte == 0x0D and second == 0x0A
            elif byte == 0x7F:
                drop = True
            elif byte == 0xC2 and (0x80 <= second < 0xA0 or second == 0xAD):
                width = 2
                line_end = second == 0x85
                drop = True
            elif byte == 0xE2 and second == 0x80 and 0xA8 <= third <= 0xA9:
                width = 3
                line_end = True
            elif byte == 0xEF and second == 0xBB and third == 0xBF:
                width = 3
                drop = True
            i += width
            if line_end:
                o = _without_trail(out_M, start, o)
                if o > start and not (o - start >= 2 and out_M[o - 1] == 0x0A and out_M[o - 2] == 0x0A):
                    out_M[o] = 0x0A
                    o += 1
            elif not drop:
                out_M[o] = byte
                o += 1
        o = _without_trail(out_M, start, o)
        while o > start and out_M[o - 1] == 0x0A:  # at most two, and no space before them
            o -= 1
        indent = _without_indent(out_M, start, o) - start
        if indent:
            o -= indent
            for k in range(start, o):
                out_M[k] = out_M[k + indent]
        out_offsets_N1[n + 1] = o


@cache
def composing_table(form: Literal["NFC", "NFKC"]) -> NDArray[np.bool_]:
    """Return bool [C]: True for a code point that may not stand, or not stand there, in text of `form` (NFC or NFKC).

    These are the code points whose Unicode property NFC_Quick_Check (NFKC_...) is not Yes, and those with a combining
    class (they may be out of order), as Python's Unicode database knows them.
    """
    [table_C] = kept(f"composing-{form}-{unicodedata.unidata_version}", lambda: (_composing_table(form),))
    return table_C


def _composing_table(form: Literal["NFC", "NFKC"]) -> NDArray[np.bool_]:
    table_C = np.zeros(0x110000, np.bool_)
    for code in (*range(0x80, 0x20000), *range(0x2F800, 0x2FA20)):
        char = chr(code)
        table_C[code] |= unicodedata.combining(char) != 0 or not unicodedata.is_normalized(form, char)
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            table_C[int(parts[1], 16)] = True
    table_C[0x1161:0x1176] = table_C[0x11A8:0x11C3] = True  # Hangul vowels and finals compose by arithmetic
    return table_C


@borrowing
def may_compose(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    table_C: NDArray[np.bool_],
    found_N: NDArray[np.bool_],
) -> None:
    """Write to `found_N` (bool) whether a document has a code point of `table_C`; without one it is in that form.

    One pass that stops at the first hit: 0.2 ns a byte of ASCII, 2 ns a byte of the rest. U+0000-007F never count.
    """
    for n in range(len(offsets_N1) - 1):
        i, stop = int(offsets_N1[n]), int(offsets_N1[n + 1])
        found = False
        while i < stop and not found:
            if i + BLOCK <= stop:
                first, second = eight_bytes(bytes_M, _U(i)), eight_bytes(bytes_M, _U(i + 8))
                third, fourth = eight_bytes(bytes_M, _U(i + 16)), eight_bytes(bytes_M, _U(i + 24))
                if (first | second | third | fourth) & _HIGH_BITS == 0:
                    i += BLOCK
                    continue
            block_stop = min(i + BLOCK, stop)
            while i < block_stop:
                code, width = code_point(bytes_M, i, stop)
                found |= table_C[_U(code)]
                i += width
        found_N[n] = found
