"""One pass over a document: its tokens, and for each line what the quality rules ask about lines.

Lines end at each character at which `str.splitlines` breaks; CR LF counts as LF. Rules that split at line feeds only join
lines that ended otherwise (`joined`). A document always ends with a line without an end, empty if it ends in a line end.

Shapes: L lines, T tokens of a document.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import SPACE
from transforms.kernels.jit import kernel
from transforms.kernels.lexicon import (
    CHARS,
    CHUNK_FLAGS,
    ENDS_ELLIPSIS,
    ENDS_TERMINAL,
    FIRST,
    LETTER_TOKENS,
    LENGTH,
    STARTS_BULLET,
    TOKENS,
    WORD_CHARS,
    WORDS,
    Lexicon,
    find,
    hash_step,
    intern,
    split,
)
from transforms.kernels.utf8 import code_point

# Columns of a line: bytes without its end, bytes without white space around; place and number of its tokens; and sums.
L_START, L_STOP, L_FIRST, L_LAST = 0, 1, 2, 3
L_TOKEN, L_TOKENS, L_CHARS, L_CHUNKS = 4, 5, 6, 7
L_WORDS, L_WORD_CHARS, L_LETTERS, L_FLAGS = 8, 9, 10, 11
L_COLUMNS = 16

# Flags of a line above those of its chunks.
BULLET, TRAILS_OFF, TERMINAL_LINE = 1 << 16, 1 << 17, 1 << 18
PADDED, GAP = 1 << 19, 1 << 20  # white space around the text; inside it other than single spaces
OTHER_END, NO_END = 1 << 21, 1 << 22  # ended by something else than a line feed, or by nothing

# What is counted in `counts`; minus these is returned when an array has no room. 1 to 3 are the lexicon's.
DOC_TOKENS, DOC_LINES = 4, 5

_U = np.uint64
_BASIS = np.uint64(0x2545F4914F6CDD1D)
_CHUNK_BASIS = np.uint64(0x9E3779B97F4A7C15)
_PLAIN, _CONTINUATION, _WHITE, _LEAD = 0, 1, 2, 3
_KIND = np.zeros(256, np.uint8)
_KIND[0x80:0xC0] = _CONTINUATION
_KIND[[*range(0x09, 0x0E), *range(0x1C, 0x21)]] = _WHITE
_KIND[[0xC2, 0xE1, 0xE2, 0xE3]] = _LEAD  # of U+0085 and U+00A0, U+1680, U+2000-205F, U+3000


class Tables(NamedTuple):
    """What a pass over a document leaves: its tokens (rows of the lexicon), its lines and their hashes."""

    tokens_T: NDArray[np.int32]
    lines_L: NDArray[np.int32]
    hashes_L: NDArray[np.uint64]


@kernel
def _white(text: NDArray[np.uint8], i: int, stop: int, flags_C: NDArray[np.uint16]) -> tuple[int, int]:
    """Return code point and width of the white space at `i`, or 0 and 0 if there is none."""
    kind = _KIND[text[_U(i)]]
    if kind == _WHITE:
        return int(text[_U(i)]), 1
    if kind == _LEAD:
        code, width = code_point(text, i, stop)
        if flags_C[code] & SPACE:
            return code, width
    return 0, 0


@kernel
def breaks_line(code: int) -> bool:
    """Whether `str.splitlines` breaks at this white space."""
    return 0x0A <= code <= 0x0D or 0x1C <= code <= 0x1E or code == 0x85 or code == 0x2028 or code == 0x2029  # noqa: PLR1714


@kernel
def scan(
    lexicon: Lexicon, text: NDArray[np.uint8], start: int, stop: int, tables: Tables, counts: NDArray[np.int64]
) -> int:
    """Append the lines of text[start:stop], and their tokens, to `tables`; return 0 or minus the number of a full array.

    Args:
        lexicon: chunks seen before; new ones are added.
        text: uint8, UTF-8.
        start: first byte.
        stop: end of the text.
        tables: arrays to fill.
        counts: int64, the tokens and lines in use at DOC_TOKENS and DOC_LINES.

    About 5 ns a byte of English once its chunks are known. Allocates nothing but for new chunks.
    """
    i = line_start = start
    while True:
        if counts[DOC_LINES] == len(tables.lines_L):
            return -DOC_LINES
        line = tables.lines_L[counts[DOC_LINES]]
        line[:] = 0
        line[L_START], line[L_TOKEN] = i, counts[DOC_TOKENS]
        line_hash, flags, last_flags = _BASIS, 0, 0
        white, last_white, chars, chunks, code = 0, 0, 0, 0, 0
        line[L_FIRST] = line[L_LAST] = i
        end = -1
        while i < stop:
            code, width = _white(text, i, stop, lexicon.flags_C)
            if width:
                if breaks_line(code) and not (code == 0x0D and i + 1 < stop and text[_U(i + 1)] == 0x0A):
                    end = i
                    i += width
                    break
                line_hash = hash_step(line_hash, _U(code))
                white += 1
                last_white = code
                chars += 1
                i += width
                continue
            chunk_start, state, word, size, continuations = i, _CHUNK_BASIS, _U(0), 0, 0
            while i < stop:
                byte = text[_U(i)]
                kind = _KIND[byte]
                if kind:
                    if kind == _CONTINUATION:
                        continuations += 1
                    elif _white(text, i, stop, lexicon.flags_C)[1]:
                        break
                word = word << _U(8) | _U(byte)
                size += 1
                i += 1
                if size & 7 == 0:
                    state, word = hash_step(state, word), _U(0)
            if size & 7:
                state = hash_step(state, word)
            row = find(lexicon, text, chunk_start, size, state)
            if row < 0:
                row = intern(lexicon, text, chunk_start, size, state)
                if row < 0:
                    return row
            chunk = lexicon.rows_R[_U(row)]
            if chunk[TOKENS] == 0:
                full = split(lexicon, text, chunk_start, row)
                if full < 0:
                    return full
            if counts[DOC_TOKENS] + chunk[TOKENS] > len(tables.tokens_T):
                return -DOC_TOKENS
            for k in range(chunk[TOKENS]):
                tables.tokens_T[_U(counts[DOC_TOKENS] + k)] = lexicon.tokens_T[_U(chunk[FIRST] + k)]
            counts[DOC_TOKENS] += chunk[TOKENS]
            line[L_TOKENS] += chunk[TOKENS]
            line[L_WORDS] += chunk[WORDS]
            line[L_WORD_CHARS] += chunk[WORD_CHARS]
            line[L_LETTERS] += chunk[LETTER_TOKENS]
            last_flags = chunk[CHUNK_FLAGS]
            flags |= last_flags
            if chunks == 0:
                line[L_FIRST] = chunk_start
                if last_flags & STARTS_BULLET:
                    flags |= BULLET
                if white:
                    flags |= PADDED
            elif white != 1 or last_white != 0x20:
                flags |= GAP
            white = 0
            chars += size - continuations
            chunks += 1
            line[L_LAST] = i
            line_hash = hash_step(line_hash, state)
        line[L_STOP] = i if end < 0 else end
        line[L_CHARS], line[L_CHUNKS] = chars, chunks
        if last_flags & ENDS_ELLIPSIS:
            flags |= TRAILS_OFF
        if white:
            flags |= PADDED
        elif last_flags & ENDS_TERMINAL:
            flags |= TERMINAL_LINE
        if end < 0:
            flags |= NO_END
        elif code != 0x0A:
            flags |= OTHER_END
        line[L_FLAGS] = flags
        tables.hashes_L[counts[DOC_LINES]] = line_hash
        counts[DOC_LINES] += 1
        if end < 0:
            return 0
