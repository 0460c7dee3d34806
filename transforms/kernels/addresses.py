"""URLs and mail addresses in a text, by the expressions with which langdetect takes them out."""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, part
from transforms.kernels.loads import eight_bytes

_U = np.uint64
_ONES, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)


@inlined
def _in_address(byte: int) -> bool:
    """Whether a byte may stand in a part of an address: letter, digit, hyphen, full stop, underscore."""
    return 0x61 <= (byte | 0x20) <= 0x7A or 0x30 <= byte <= 0x39 or 0x2D <= byte <= 0x2E or byte == 0x5F


@part
def _url_stop(bytes_M: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return the end of the http(s) URL at `start`, or `start` if there is none."""
    i = start
    for letter in (0x68, 0x74, 0x74, 0x70):
        if i == stop or bytes_M[_U(i)] != letter:
            return start
        i += 1
    if i < stop and bytes_M[_U(i)] == 0x73:
        i += 1
    for mark in (0x3A, 0x2F, 0x2F):
        if i == stop or bytes_M[_U(i)] != mark:
            return start
        i += 1
    body = i
    while i < stop:
        byte = bytes_M[_U(i)]
        if not (_in_address(byte) or byte in (0x3F, 0x26, 0x7E, 0x3B, 0x2B, 0x3D, 0x2F, 0x23)):
            break
        i += 1
    return i if i > body else start


@part
def _next_byte(bytes_M: NDArray[np.uint8], start: int, stop: int, byte: int) -> int:
    """Return where a byte stands next, or `stop`; by eights."""
    i = start
    while i + 8 <= stop:
        differ = eight_bytes(bytes_M, _U(i)) ^ (_ONES * _U(byte))
        if (differ - _ONES) & ~differ & _HIGH_BITS:
            break
        i += 8
    while i < stop and bytes_M[_U(i)] != byte:
        i += 1
    return i


@part
def next_url(bytes_M: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return first and last + 1 byte of the first URL at or after `start`, or `(stop, stop)`."""
    colon = _next_byte(bytes_M, start, stop, 0x3A)
    while colon < stop:
        for first in (colon - 5, colon - 4):  # https, http
            if first >= start:
                last = _url_stop(bytes_M, first, stop)
                if last > first:
                    return first, last
        colon = _next_byte(bytes_M, colon + 1, stop, 0x3A)
    return stop, stop


@part
def next_mail(bytes_M: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return first and last + 1 byte of the first mail address at or after `start`, or `(stop, stop)`."""
    at = _next_byte(bytes_M, start, stop, 0x40)
    while at < stop:
        first = at
        while first > start and at - first < 64 and _in_address(bytes_M[_U(first - 1)]):
            first -= 1
        last = at + 1
        while last < stop and _in_address(bytes_M[_U(last)]) and _url_stop(bytes_M, last, stop) == last:
            last += 1
        if first < at and last - at > 2 and bytes_M[_U(at + 1)] != 0x2E:
            return first, last
        at = _next_byte(bytes_M, at + 1, stop, 0x40)
    return stop, stop
