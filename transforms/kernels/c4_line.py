"""The rules of C4 for one line: what is cut, what drops its document, what is deleted."""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import SPACE
from transforms.kernels.jit import part
from transforms.kernels.lexicon import IS_LONG, IS_SUSPECT, contains
from transforms.kernels.lines import THREE_CHUNKS
from transforms.kernels.utf8 import code_point

# Rules of the presets; the last two cut lines.
LOREM_IPSUM, CURLY_BRACKET, TOO_FEW_SENTENCES, TOO_LONG, FEW_WORDS, NO_END_MARK = 0, 1, 2, 3, 4, 5
# Reasons to cut a line.
CUT_LONG_WORD, CUT_FEW_WORDS, CUT_JAVASCRIPT, CUT_POLICY, CUT_NO_END_MARK = 0, 1, 2, 3, 4
NUM_CUTS = 5

_U = np.uint64


def _phrases(*phrases: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.frombuffer(b"".join(phrases), np.uint8), np.cumsum([0, *map(len, phrases)])


_LOREM = np.frombuffer(b"lorem ipsum", np.uint8)
_JAVASCRIPT = np.frombuffer(b"javascript", np.uint8)
_POLICY_M, _POLICY_N1 = _phrases(
    b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies"
)
_CITATION_M, _CITATION_N1 = _phrases(b"[edit]", b"[citation needed]")


@part
def _any_phrase(
    text: NDArray[np.uint8], start: int, stop: int, phrases_M: NDArray[np.uint8], phrases_N1: NDArray[np.int64]
) -> bool:
    for n in range(len(phrases_N1) - 1):
        if contains(text, start, stop, phrases_M[phrases_N1[n] : phrases_N1[n + 1]]):
            return True
    return False


@part
def _copy_without_citations(text: NDArray[np.uint8], start: int, stop: int, o: int) -> int:
    """Copy a line to text[o:] without `[12]`, `[]`, `[edit]` and `[citation needed]`; return the end of the copy."""
    i = start
    while i < stop:
        width = 0
        if text[i] == 0x5B:
            j = i + 1
            while j < stop and 0x30 <= text[j] <= 0x39:
                j += 1
            if j < stop and text[j] == 0x5D:
                width = j + 1 - i
            for n in range(len(_CITATION_N1) - 1):
                size = _CITATION_N1[n + 1] - _CITATION_N1[n]
                k = 0
                while k < size and i + k < stop and text[i + k] == _CITATION_M[_CITATION_N1[n] + k]:
                    k += 1
                if k == size:
                    width = size
        if width == 0:
            text[o] = text[i]
            o += 1
        i += max(width, 1)
    return o


@part
def _num_words(text: NDArray[np.uint8], start: int, stop: int, enough: float, flags_C: NDArray[np.uint16]) -> int:
    """Return the number of runs without white space, or one that is not below `enough`."""
    words, i, inside = 0, start, False
    while i < stop and not (words >= enough and inside):
        code, width = code_point(text, i, stop)
        white = flags_C[_U(code)] & SPACE != 0
        words += not white and not inside
        inside = not white
        i += width
    return words


@part
def _has_end_mark(text: NDArray[np.uint8], start: int, stop: int, apostrophe: bool) -> bool:
    """Whether a line ends with `.`, `?`, `!`, `"` or, if asked for, an apostrophe, and not with three full stops."""
    if start == stop:
        return False
    last = text[_U(stop - 1)]
    if last == 0x2E:
        return not (stop - start > 2 and text[_U(stop - 2)] == 0x2E and text[_U(stop - 3)] == 0x2E)
    return last == 0x3F or last == 0x21 or last == 0x22 or (apostrophe and last == 0x27)  # noqa: PLR1714


@part
def _suspicion(text: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return the rule that drops the document of a line and the reason to cut the line, -1 where there is none."""
    if contains(text, start, stop, _LOREM):
        return LOREM_IPSUM, -1
    if contains(text, start, stop, _JAVASCRIPT):
        return -1, CUT_JAVASCRIPT
    for k in range(start, stop):
        if text[k] == 0x7B:
            return CURLY_BRACKET, -1
    if _any_phrase(text, start, stop, _POLICY_M, _POLICY_N1):
        return -1, CUT_POLICY
    return -1, -1


@part
def copy_line(
    text: NDArray[np.uint8],
    first: int,
    last: int,
    at: int,
    flags: int,
    tfds: bool,
    least: float,
    marks: bool,
    flags_C: NDArray[np.uint16],
) -> tuple[int, int, int]:
    """Copy a line to text[at:] without citation marks, unless it is cut before.

    Return the end of the copy; the rule and the reason as `_suspicion`. `least` words are wanted, and an end mark if
    `marks`.
    """
    if flags & IS_LONG:
        return at, -1, CUT_LONG_WORD
    few = False
    if not tfds:
        few = not flags & THREE_CHUNKS if least == 3 else _num_words(text, first, last, least, flags_C) < least
    if few and not marks:
        return at, -1, CUT_FEW_WORDS
    if flags & IS_SUSPECT:
        end = _copy_without_citations(text, first, last, at)
    else:
        end = at + last - first
        for k in range(last - first):
            text[_U(at + k)] = text[_U(first + k)]
    if marks and not _has_end_mark(text, at, end, not tfds):
        return end, -1, CUT_NO_END_MARK
    if few or (tfds and _num_words(text, at, end, least, flags_C) < least):
        return end, -1, CUT_FEW_WORDS
    rule, cut = -1, -1
    if flags & IS_SUSPECT:
        rule, cut = _suspicion(text, at, end)
    return end, rule, cut
