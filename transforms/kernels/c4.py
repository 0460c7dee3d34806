"""The line rules of C4 as FineWeb ran them: lines are cut, citation marks deleted, sentences counted.

Shapes: L lines, T tokens of a document.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel
from transforms.kernels.lexicon import FLAGS, IS_LONG, IS_SUSPECT, TOKEN_END, TOKEN_MARK, Lexicon, contains, lower
from transforms.kernels.lines import (
    DOC_LINES,
    AFTER_GAP,
    DOC_TOKENS,
    L_CHUNKS,
    L_COLUMNS,
    L_END,
    L_FIRST,
    L_FLAGS,
    L_LAST,
    L_START,
    L_STOP,
    L_TOKEN,
    L_TOKENS,
    NO_END,
    OTHER_END,
    PADDED,
    TOKEN_ROW,
    Tables,
    scan,
    text_lines,
)

LOREM_IPSUM, CURLY_BRACKET, TOO_FEW_SENTENCES = 0, 1, 2  # rules of the preset
CUT_LONG_WORD, CUT_FEW_WORDS, CUT_JAVASCRIPT, CUT_POLICY = 0, 1, 2, 3  # reasons to cut a line
NUM_CUTS = 4

_MIN_WORDS = 3
_U = np.uint64


def _phrases(*phrases: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.frombuffer(b"".join(phrases), np.uint8), np.cumsum([0, *map(len, phrases)])


_LOREM = np.frombuffer(b"lorem ipsum", np.uint8)
_JAVASCRIPT = np.frombuffer(b"javascript", np.uint8)
_POLICY_M, _POLICY_N1 = _phrases(
    b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies"
)
_CITATION_M, _CITATION_N1 = _phrases(b"[edit]", b"[citation needed]")


@kernel
def _sentences(tokens_T: NDArray[np.int32], first: int, count: int, rows_R: NDArray[np.int32]) -> int:
    """Return the number of sentences of a line that is not empty, as spaCy's sentencizer counts.

    A sentence ends with `.`, `?` or another such mark that is a token of its own, and the punctuation that follows it.
    """
    sentences, ended = 1, False
    for t in range(first, first + count):
        token = tokens_T[_U(t)]
        flags = rows_R[_U(token & TOKEN_ROW), FLAGS]
        if ended and (token & AFTER_GAP or not flags & (TOKEN_END | TOKEN_MARK)):
            sentences += 1
            ended = False
        if flags & TOKEN_END:
            ended = True
    return sentences


@kernel
def _any_phrase(
    text: NDArray[np.uint8], start: int, stop: int, phrases_M: NDArray[np.uint8], phrases_N1: NDArray[np.int64]
) -> bool:
    for n in range(len(phrases_N1) - 1):
        if contains(text, start, stop, phrases_M[phrases_N1[n] : phrases_N1[n + 1]]):
            return True
    return False


@kernel
def _without_citations(
    text: NDArray[np.uint8], start: int, stop: int, out_M: NDArray[np.uint8], o: int
) -> int:
    """Copy a line without `[12]`, `[]`, `[edit]` and `[citation needed]` to `out_M`; return the end of the copy."""
    i = start
    while i < stop:
        if text[i] == 0x5B:
            j = i + 1
            while j < stop and 0x30 <= text[j] <= 0x39:
                j += 1
            if j < stop and text[j] == 0x5D:
                i = j + 1
                continue
            width = 0
            for n in range(len(_CITATION_N1) - 1):
                size = _CITATION_N1[n + 1] - _CITATION_N1[n]
                same = i + size <= stop
                for k in range(size):
                    same = same and text[i + k] == _CITATION_M[_CITATION_N1[n] + k]
                if same:
                    width = size
            if width:
                i += width
                continue
        out_M[o] = text[i]
        o += 1
        i += 1
    return o


@kernel
def cut_lines(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    tables: Tables,
    counts: NDArray[np.int64],
    out_M: NDArray[np.uint8],
    out_start: int,
    out_tables: Tables,
    out_counts: NDArray[np.int64],
    cuts_C: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Write the lines of a document that C4 keeps to `out_M`, and their tables.

    Args:
        lexicon: of the tables.
        text: uint8, what the tables speak of.
        tables: of the document.
        counts: int64, of `tables`.
        out_M: uint8, room for the document from `out_start` on. May be `text` itself if out_start is not behind the text.
        out_start: where to write.
        out_tables: other arrays than `tables`, of the same size.
        out_counts: int64, of `out_tables`; start from zero.
        cuts_C: int64 [NUM_CUTS], to which the lines cut are added by reason.

    Returns:
        The rule that drops the document (LOREM_IPSUM, CURLY_BRACKET) or -1, the number of sentences, and the end of the
        text written. A negative end is minus the number of an array that is full.

    Letters are compared without regard to ASCII case; the references lower-case the whole of Unicode, which adds U+212A
    as a k and nothing else to these phrases.
    """
    lines_L, tokens_T, out_lines_L = tables.lines_L, tables.tokens_T, out_tables.lines_L
    sentences, o, edited = 0, out_start, False
    for l in range(text_lines(lines_L, counts[DOC_LINES])):
        line = _U(l)
        flags = lines_L[line, L_FLAGS]
        if flags & IS_LONG:
            cuts_C[CUT_LONG_WORD] += 1
            continue
        start, stop = lines_L[line, L_FIRST], lines_L[line, L_LAST]
        line_out = o + (o > out_start)
        if flags & IS_SUSPECT:
            end = _without_citations(text, start, stop, out_M, line_out)
        else:
            end = line_out + stop - start
        if lines_L[line, L_CHUNKS] < _MIN_WORDS:
            cuts_C[CUT_FEW_WORDS] += 1
            continue
        if flags & IS_SUSPECT:
            if contains(out_M, line_out, end, _LOREM):
                return LOREM_IPSUM, sentences, o
            if contains(out_M, line_out, end, _JAVASCRIPT):
                cuts_C[CUT_JAVASCRIPT] += 1
                continue
            for k in range(line_out, end):
                if out_M[k] == 0x7B:
                    return CURLY_BRACKET, sentences, o
            if _any_phrase(out_M, line_out, end, _POLICY_M, _POLICY_N1):
                cuts_C[CUT_POLICY] += 1
                continue
        else:
            for k in range(stop - start):
                out_M[_U(line_out + k)] = text[_U(start + k)]
        if o > out_start:
            out_M[o] = 0x0A
        o = end
        changed = end - line_out != stop - start
        edited |= changed
        new = _U(out_counts[DOC_LINES])
        if changed or flags & PADDED:
            full = scan(lexicon, out_M, line_out, end, out_tables, out_counts)
            if full < 0:
                return -1, sentences, full
            tokens = out_lines_L[new, L_TOKENS]
            if end > line_out:
                sentences += _sentences(out_tables.tokens_T, out_lines_L[new, L_TOKEN], tokens, lexicon.rows_R)
        else:
            if new == _U(len(out_lines_L)):
                return -1, sentences, -DOC_LINES
            first, tokens, out_first = lines_L[line, L_TOKEN], lines_L[line, L_TOKENS], out_counts[DOC_TOKENS]
            if out_first + tokens > len(out_tables.tokens_T):
                return -1, sentences, -DOC_TOKENS
            for t in range(tokens):
                out_tables.tokens_T[_U(out_first + t)] = tokens_T[_U(first + t)]
            for c in range(L_COLUMNS):
                out_lines_L[new, _U(c)] = lines_L[line, _U(c)]
            out_lines_L[new, L_START] = out_lines_L[new, L_FIRST] = line_out
            out_lines_L[new, L_STOP] = out_lines_L[new, L_LAST] = end
            out_lines_L[new, L_TOKEN] = out_first
            out_tables.hashes_L[new] = tables.hashes_L[line]
            out_counts[DOC_TOKENS] += tokens
            out_counts[DOC_LINES] += 1
            sentences += _sentences(tokens_T, first, tokens, lexicon.rows_R)
        out_lines_L[new, L_FLAGS] &= ~(OTHER_END | NO_END)
        out_lines_L[new, L_END] = 0x0A
    if edited:  # a citation at either end leaves white space, or a blank line
        return -1, sentences, _rescan(lexicon, out_M, out_start, o, out_tables, out_counts)
    if out_counts[DOC_LINES]:
        out_lines_L[out_counts[DOC_LINES] - 1, L_FLAGS] |= NO_END
    return -1, sentences, o
