"""Classes of bytes that personal data are told by, and which characters belong to a word.

Shapes: M bytes.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import inlined, part
from transforms.kernels.tables import kept
from transforms.kernels.utf8 import code_point

_U = np.uint64
DIGIT, LETTER, ATOM, HEX, TRIGGER = 1, 2, 4, 8, 16
CLASS = np.zeros(256, np.uint8)
CLASS[0x30:0x3A] = DIGIT | ATOM | HEX | TRIGGER
CLASS[0x41:0x5B] = CLASS[0x61:0x7B] = LETTER | ATOM
CLASS[0x41:0x47] = CLASS[0x61:0x67] = LETTER | ATOM | HEX
CLASS[list(b"!#$%&'*+/=?^_`{|}~-")] = ATOM
CLASS[list(b":+(")] |= TRIGGER


@inlined
def is_a(text: NDArray[np.uint8], i: int, start: int, stop: int, kind: int) -> bool:
    """Whether there is a byte of this class at `i`."""
    return start <= i < stop and CLASS[text[_U(i)]] & kind != 0


@cache
def word_table() -> NDArray[np.bool_]:
    """Return bool [0x110000]: letters, numbers of any kind and the underscore, as in `w` of regular expressions."""
    [words_C] = kept(f"pii-{unicodedata.unidata_version}", lambda: (_word_table(),))
    return words_C


def _word_table() -> NDArray[np.bool_]:
    words_C = np.fromiter((chr(code).isalnum() for code in range(0x110000)), np.bool_, 0x110000)
    words_C[0x5F] = True
    return words_C


@part
def is_word(text: NDArray[np.uint8], i: int, start: int, stop: int, words_C: NDArray[np.bool_]) -> bool:
    """Whether the character that has byte `i` belongs to a word; outside of the text none does."""
    if not start <= i < stop:
        return False
    while i > start and text[_U(i)] & 0xC0 == 0x80:
        i -= 1
    return words_C[_U(code_point(text, i, stop)[0])]
