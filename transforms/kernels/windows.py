"""The windows of a text in which its language is looked for, as characters of language profiles.

Shapes: M bytes, C code points of the first plane.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.addresses import next_mail, next_url
from transforms.kernels.jit import part
from transforms.kernels.loads import eight_bytes
from transforms.kernels.utf8 import code_point

SPACE, OTHER = 1, 2  # characters that are no character of a profile (0 is none at all); the profiles' own follow
CHAR_BITS = 13
CHAR_MASK = (1 << CHAR_BITS) - 1
UPPER, LATIN, FAR = 1 << 13, 1 << 14, 1 << 15  # flags beside the bits: capital; `A` to `z`; U+0300 or later

WINDOW = 256  # bytes; 32 of 128 and 8 of 512 are 0.2 and 1.1 % worse on the pages
MAX_WINDOWS = 16

_U = np.uint64
_HIGH_BITS = np.uint64(0x8080808080808080)
_FAR_SPACE, _FAR_LETTER = np.uint16(SPACE), np.uint16(OTHER | FAR)


@part
def _characters(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    chars_C: NDArray[np.uint16],
    out: NDArray[np.uint16],
    filled: int,
) -> int:
    """Append the characters of one window to `out` and return its new length; URLs and addresses become a space."""
    mail, mail_stop = next_mail(bytes_M, start, stop)
    url, url_stop = next_url(bytes_M, start, stop)
    i = start
    while i < stop:
        if i == min(mail, url):
            i = mail_stop if i == mail else url_stop
            while mail < i:
                mail, mail_stop = next_mail(bytes_M, i, stop)
            while url < i:
                url, url_stop = next_url(bytes_M, i, stop)
            out[_U(filled)] = SPACE
            filled += 1
            continue
        if i + 8 <= min(mail, url):
            word = eight_bytes(bytes_M, _U(i))
            if word & _HIGH_BITS == 0:
                for k in range(8):
                    out[_U(filled + k)] = chars_C[(word >> _U(8 * k)) & _U(0xFF)]
                filled += 8
                i += 8
                continue
        byte = bytes_M[_U(i)]
        if byte < 0x80:
            char = chars_C[_U(byte)]
            i += 1
        else:
            code, width = code_point(bytes_M, i, stop)
            # Beyond the first plane: emoji and scripts without a profile, then rare Han.
            beyond = _FAR_SPACE if code < 0x20000 else _FAR_LETTER
            char = chars_C[_U(code)] if code < 0x10000 else beyond
            i += width
        out[_U(filled)] = char
        filled += 1
    return filled


@part
def read_windows(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    chars_C: NDArray[np.uint16],
    out: NDArray[np.uint16],
    bounds: NDArray[np.int64],
) -> int:
    """Write the characters of one document to `out` and the ends of its windows to `bounds`; return their number.

    A document of up to WINDOW * MAX_WINDOWS bytes is read whole and cut into equal windows. Of a longer one as many
    windows are read at equal distances, each from the first white space in it.
    """
    size = stop - start
    if size <= WINDOW * MAX_WINDOWS:
        num_windows = (size + WINDOW - 1) // WINDOW
        filled = _characters(bytes_M, start, stop, chars_C, out, 0)
        for w in range(num_windows + 1):
            bounds[w] = filled * w // num_windows
        return num_windows
    filled = 0
    for w in range(MAX_WINDOWS):
        bounds[w] = filled
        first = start + w * (size - WINDOW) // (MAX_WINDOWS - 1)
        last = first + WINDOW
        if w > 0:
            i = first
            while i < first + 64 and bytes_M[_U(i)] > 0x20:
                i += 1
            if i == first + 64:  # no spaces in this script: from the first whole character
                i = first
                while bytes_M[_U(i)] & 0xC0 == 0x80:
                    i += 1
            first = i
            out[_U(filled)] = SPACE
            filled += 1
        filled = _characters(bytes_M, first, last, chars_C, out, filled)
    bounds[MAX_WINDOWS] = filled
    return MAX_WINDOWS
