"""E-mail addresses in text: where the next one begins and ends."""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.ip_addresses import ipv4
from transforms.kernels.jit import part
from transforms.kernels.pii_classes import ATOM, CLASS, DIGIT, LETTER, is_a, is_word

_U = np.uint64


@part
def next_email(
    text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return start and end of the first e-mail address in text[first:stop] of a document from `start`, or (stop, stop).

    Atoms separated by full stops, from a word boundary on; `@`; two or more labels or an IPv4 address in brackets.
    """
    at = first
    while at < stop:
        if text[_U(at)] != 0x40:
            at += 1
            continue
        left = at
        while left > first and (
            is_a(text, left - 1, start, stop, ATOM)
            or (
                text[_U(left - 1)] == 0x2E
                and left < at
                and is_a(text, left - 2, first, stop, ATOM)
                and text[_U(left)] != 0x2E
            )
        ):
            left -= 1
        while left < at and not (
            text[_U(left)] != 0x2E
            and is_word(text, left, start, stop, words_C) != is_word(text, left - 1, start, stop, words_C)
        ):
            left += 1
        if left < at:
            end = _domain_end(text, at + 1, stop)
            if end > at:
                return left, end
        at += 1
    return stop, stop


@part
def _domain_end(text: NDArray[np.uint8], first: int, stop: int) -> int:
    """Return the end of the domain at `first`, or -1."""
    if first < stop and text[_U(first)] == 0x5B:
        end, _ = ipv4(text, first + 1, stop)
        return end + 1 if 0 < end < stop and text[_U(end)] == 0x5D else -1
    labels, end, i = 0, -1, first
    while is_a(text, i, first, stop, DIGIT | LETTER):
        last = i
        while i < stop and (CLASS[text[_U(i)]] & (DIGIT | LETTER) or text[_U(i)] == 0x2D):
            if text[_U(i)] != 0x2D:
                last = i
            i += 1
        labels += 1
        end = last + 1
        if i > end or i == stop or text[_U(i)] != 0x2E:
            break
        i += 1
    return end if labels > 1 else -1
