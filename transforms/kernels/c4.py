"""The line rules of C4, as FineWeb ran them and as TFDS has them: lines are cut, citation marks deleted.

Shapes: L lines, T tokens of a document.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.c4_line import FEW_WORDS, NO_END_MARK, copy_line
from transforms.kernels.jit import borrowing, part, wide
from transforms.kernels.lexicon import CHARS, FLAGS, TOKEN_END, TOKEN_LETTER, TOKEN_MARK, TOKEN_WORD, Lexicon
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
    TOKEN_ROW,
    Tables,
    scan,
)
from transforms.kernels.units import stripped, text_lines

_U = np.uint64


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
def _scan_line(
    lexicon: Lexicon, text: NDArray[np.uint8], at: int, end: int, out_tables: Tables, out_counts: NDArray[np.int64]
) -> int:
    """Append a changed line to the tables; return its number of sentences, or minus the number of a full array."""
    new, first = _U(out_counts[DOC_LINES]), out_counts[DOC_TOKENS]
    full = scan(lexicon, text, at, end, out_tables, out_counts)
    if full < 0 or end == at:
        return full
    trail = end - out_tables.lines_L[new, L_LAST]
    white_end = trail > 1 or (trail == 1 and text[end - 1] != 0x20)
    return _sentences(out_tables.tokens_T, first, out_counts[DOC_TOKENS] - first, white_end, lexicon.rows_R)


@part
def _move_line(
    rows_R: NDArray[np.int32],
    l: int,
    at: int,
    end: int,
    tables: Tables,
    out_tables: Tables,
    out_counts: NDArray[np.int64],
) -> int:
    """Append line l, which stays as it is, to other tables; return as `_scan_line`."""
    line, new, out_first = _U(l), _U(out_counts[DOC_LINES]), out_counts[DOC_TOKENS]
    first = tables.lines_L[_U(l - 1), L_TOKENS] if l else 0
    num_tokens = wide(tables.lines_L[line, L_TOKENS] - first)
    if out_first + num_tokens > len(out_tables.tokens_T):
        return -DOC_TOKENS
    if new == _U(len(out_tables.lines_L)):
        return -DOC_LINES
    for t in range(num_tokens):
        token = tables.tokens_T[_U(first + t)]
        row = _U(token & TOKEN_ROW)
        out_tables.tokens_T[_U(out_first + t)] = token
        if rows_R[row, FLAGS] & TOKEN_WORD:
            out_counts[DOC_WORDS] += 1
            out_counts[DOC_WORD_CHARS] += rows_R[row, CHARS]
        out_counts[DOC_LETTERS] += rows_R[row, FLAGS] & TOKEN_LETTER != 0
    for c in range(L_COLUMNS):
        out_tables.lines_L[new, c] = tables.lines_L[line, c]
    out_tables.lines_L[new, L_START] = out_tables.lines_L[new, L_FIRST] = at
    out_tables.lines_L[new, L_STOP] = out_tables.lines_L[new, L_LAST] = end
    out_tables.lines_L[new, L_TOKENS] = out_first + num_tokens
    out_tables.hashes_L[new] = tables.hashes_L[line]
    out_counts[DOC_TOKENS] += num_tokens
    out_counts[DOC_LINES] += 1
    out_counts[DOC_FLAGS] |= tables.lines_L[line, L_FLAGS] & CHUNK_MASK
    return _sentences(out_tables.tokens_T, out_first, num_tokens, False, rows_R)


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
    lines_L, out_lines_L = tables.lines_L, out_tables.lines_L
    sentences, o, edited = 0, start, False
    least, marks = thresholds_Q[FEW_WORDS], not np.isnan(thresholds_Q[NO_END_MARK])
    for l in range(text_lines(lines_L, counts[DOC_LINES])):
        flags, first, last = lines_L[_U(l), L_FLAGS], wide(lines_L[_U(l), L_FIRST]), wide(lines_L[_U(l), L_LAST])
        at = o + (o > start)
        end, rule, cut = copy_line(text, first, last, at, flags, tfds, least, marks, lexicon.flags_C)
        if rule >= 0:
            return rule, sentences, o
        if cut >= 0:
            cuts_C[cut] += 1
            continue
        if at > o:
            text[o] = 0x0A
        o = end
        new, changed = _U(out_counts[DOC_LINES]), end - at != last - first
        edited |= changed
        if changed or flags & PADDED:
            found = _scan_line(lexicon, text, at, end, out_tables, out_counts)
        else:
            found = _move_line(lexicon.rows_R, l, at, end, tables, out_tables, out_counts)
        if found < 0:
            return -1, sentences, found
        sentences += found
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
