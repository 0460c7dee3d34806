"""The line rules of C4, as FineWeb ran them and as TFDS has them: lines are cut, citation marks deleted.

Shapes: L lines, T tokens of a document.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import SPACE
from transforms.kernels.jit import borrowing, part, wide
from transforms.kernels.lexicon import (
    CHARS,
    FLAGS,
    IS_LONG,
    IS_SUSPECT,
    TOKEN_END,
    TOKEN_LETTER,
    TOKEN_MARK,
    TOKEN_WORD,
    Lexicon,
    contains,
)
from transforms.kernels.lines import (
    AFTER_GAP,
    CHUNK_MASK,
    DOC_FLAGS,
    DOC_LETTERS,
    DOC_LINES,
    DOC_TOKENS,
    DOC_WORD_CHARS,
    DOC_WORDS,
    L_COLUMNS,
    L_END,
    L_FIRST,
    L_FLAGS,
    L_LAST,
    L_START,
    L_STOP,
    L_TOKENS,
    NO_END,
    NUM_COUNTS,
    OTHER_END,
    PADDED,
    RETURNS,
    THREE_CHUNKS,
    TOKEN_ROW,
    Tables,
    scan,
    stripped,
    text_lines,
)
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
def _sentences(tokens_T: NDArray[np.int32], first: int, count: int, white_end: bool, rows_R: NDArray[np.int32]) -> int:
    """Return the number of sentences of a line that is not empty, as spaCy's sentencizer counts.

    A sentence ends with `.`, `?` or another such mark that is a token of its own, and the punctuation that follows it.
    White space other than one space is a token, also where the deletion of a citation has left it at the end.
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
    return sentences + (ended and white_end)


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
def cut_lines(
    lexicon: Lexicon,
    text: NDArray[np.uint8],
    start: int,
    tables: Tables,
    counts: NDArray[np.int64],
    out_tables: Tables,
    out_counts: NDArray[np.int64],
    tfds: bool,
    thresholds_Q: NDArray[np.float64],
    cuts_C: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Leave in `text` only what C4 keeps of a document, and write the tables of that.

    Args:
        lexicon: of the tables.
        text: uint8, rewritten from `start` on, never longer than before.
        start: where the document begins.
        tables: of the document.
        counts: int64, of `tables`.
        out_tables: other arrays than those of `tables`.
        out_counts: int64, of `out_tables`; zero.
        tfds: words are counted behind the deletion of citation marks, and an apostrophe is no end mark. datatrove,
            and so FineWeb, counts before it.
        thresholds_Q: float64, of the preset's rules: with NaN at NO_END_MARK lines need no end mark.
        cuts_C: int64 [NUM_CUTS], to which the lines cut are added by reason.

    Returns:
        The rule that drops the document (LOREM_IPSUM, CURLY_BRACKET) or -1; the number of sentences; the end of the new
        text, or minus the number of an array that is full (the text is half rewritten then).

    Letters are compared without regard to ASCII case. The references lower-case all of Unicode, which would only add
    U+212A as a k.
    """
    lines_L, tokens_T, out_lines_L, rows_R = tables.lines_L, tables.tokens_T, out_tables.lines_L, lexicon.rows_R
    sentences, o, edited = 0, start, False
    least, marks = thresholds_Q[FEW_WORDS], not np.isnan(thresholds_Q[NO_END_MARK])
    for l in range(text_lines(lines_L, counts[DOC_LINES])):
        line = _U(l)
        flags = lines_L[line, L_FLAGS]
        if flags & IS_LONG:
            cuts_C[CUT_LONG_WORD] += 1
            continue
        first, last = wide(lines_L[line, L_FIRST]), wide(lines_L[line, L_LAST])
        few = False
        if not tfds:
            if least == 3:
                few = not flags & THREE_CHUNKS
            else:
                few = _num_words(text, first, last, least, lexicon.flags_C) < least
        if few and not marks:
            cuts_C[CUT_FEW_WORDS] += 1
            continue
        at = o + (o > start)
        if flags & IS_SUSPECT:
            end = _copy_without_citations(text, first, last, at)
        else:
            end = at + last - first
            for k in range(last - first):
                text[_U(at + k)] = text[_U(first + k)]
        if marks and not _has_end_mark(text, at, end, not tfds):
            cuts_C[CUT_NO_END_MARK] += 1
            continue
        if few or (tfds and _num_words(text, at, end, least, lexicon.flags_C) < least):
            cuts_C[CUT_FEW_WORDS] += 1
            continue
        if flags & IS_SUSPECT:
            if contains(text, at, end, _LOREM):
                return LOREM_IPSUM, sentences, o
            if contains(text, at, end, _JAVASCRIPT):
                cuts_C[CUT_JAVASCRIPT] += 1
                continue
            for k in range(at, end):
                if text[k] == 0x7B:
                    return CURLY_BRACKET, sentences, o
            if _any_phrase(text, at, end, _POLICY_M, _POLICY_N1):
                cuts_C[CUT_POLICY] += 1
                continue
        if at > o:
            text[o] = 0x0A
        o = end
        new, out_first = _U(out_counts[DOC_LINES]), out_counts[DOC_TOKENS]
        changed = end - at != last - first
        if changed or flags & PADDED:
            edited |= changed
            full = scan(lexicon, text, at, end, out_tables, out_counts)
            if full < 0:
                return -1, sentences, full
            if end > at:
                trail = end - out_lines_L[new, L_LAST]
                white_end = trail > 1 or (trail == 1 and text[end - 1] != 0x20)
                num_tokens = out_counts[DOC_TOKENS] - out_first
                sentences += _sentences(out_tables.tokens_T, out_first, num_tokens, white_end, rows_R)
        else:
            first_token = lines_L[_U(l - 1), L_TOKENS] if l else 0
            num_tokens = wide(lines_L[line, L_TOKENS] - first_token)
            if out_first + num_tokens > len(out_tables.tokens_T):
                return -1, sentences, -DOC_TOKENS
            if new == _U(len(out_lines_L)):
                return -1, sentences, -DOC_LINES
            for t in range(num_tokens):
                token = tokens_T[_U(first_token + t)]
                row = _U(token & TOKEN_ROW)
                out_tables.tokens_T[_U(out_first + t)] = token
                if rows_R[row, FLAGS] & TOKEN_WORD:
                    out_counts[DOC_WORDS] += 1
                    out_counts[DOC_WORD_CHARS] += rows_R[row, CHARS]
                out_counts[DOC_LETTERS] += rows_R[row, FLAGS] & TOKEN_LETTER != 0
            for c in range(L_COLUMNS):
                out_lines_L[new, c] = lines_L[line, c]
            out_lines_L[new, L_START] = out_lines_L[new, L_FIRST] = at
            out_lines_L[new, L_STOP] = out_lines_L[new, L_LAST] = end
            out_lines_L[new, L_TOKENS] = out_first + num_tokens
            out_tables.hashes_L[new] = tables.hashes_L[line]
            out_counts[DOC_TOKENS] += num_tokens
            out_counts[DOC_LINES] += 1
            out_counts[DOC_FLAGS] |= flags & CHUNK_MASK
            sentences += _sentences(out_tables.tokens_T, out_first, num_tokens, False, rows_R)
        out_lines_L[new, L_FLAGS] &= ~(OTHER_END | NO_END | RETURNS)
        out_lines_L[new, L_END] = 0x0A
    if o > start and not edited:
        out_lines_L[out_counts[DOC_LINES] - 1, L_FLAGS] |= NO_END
        return -1, sentences, o
    if edited:  # a citation at an end of the text leaves white space there
        first, last = stripped(out_tables.lines_L, out_counts[DOC_LINES], start)
        for k in range(last - first):
            text[start + k] = text[first + k]
        o = start + last - first
    for c in range(NUM_COUNTS):
        out_counts[c] = 0
    full = scan(lexicon, text, start, o, out_tables, out_counts)
    return -1, sentences, o if full == 0 else full


@borrowing
def pack(
    original_M: NDArray[np.uint8],
    text_M: NDArray[np.uint8],
    offsets_N1: NDArray[np.int32],
    stop_N: NDArray[np.int32],
    rewritten_N: NDArray[np.bool_],
    out_offsets_N1: NDArray[np.int32],
    out_M: NDArray[np.uint8],
) -> None:
    """Write documents one after the other to `out_M`: rewritten ones from `text_M` up to `stop_N`, others as they were.

    Args:
        original_M: uint8, the documents.
        text_M: uint8, the documents after `cut_lines`.
        offsets_N1: int32, where they begin in both.
        stop_N: int32, where a rewritten document ends in `text_M`.
        rewritten_N: bool.
        out_offsets_N1: int32, written.
        out_M: uint8, written; as long as `original_M`.
    """
    o = 0
    out_offsets_N1[0] = 0
    for n in range(len(stop_N)):
        start = offsets_N1[n]
        if rewritten_N[n]:
            for i in range(start, stop_N[n]):
                out_M[_U(o + i - start)] = text_M[_U(i)]
            o += stop_N[n] - start
        else:
            for i in range(start, offsets_N1[n + 1]):
                out_M[_U(o + i - start)] = original_M[_U(i)]
            o += offsets_N1[n + 1] - start
        out_offsets_N1[n + 1] = o
