"""One pass over a document: its tokens, and for each line what the quality rules ask about lines.

Lines end at each character at which `str.splitlines` breaks; CR LF counts as LF. For rules that split at line feeds
only, `feed_lines` joins lines that ended otherwise. The last line has no end, and is empty if the document ends in one.

Shapes: L lines, T tokens of a document.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import SPACE
from transforms.kernels.chunks import learn
from transforms.kernels.jit import inlined, part, wide
from transforms.kernels.lexicon import (
    CHUNK_FLAGS,
    COLUMNS,
    ENDS_ELLIPSIS,
    ENDS_TERMINAL,
    FIRST,
    INLINE,
    LETTER_TOKENS,
    NUM_INLINE,
    STARTS_BULLET,
    TOKENS,
    WORD_CHARS,
    WORDS,
    Lexicon,
    find,
    hash_step,
)
from transforms.kernels.loads import eight_bytes, prefetch
from transforms.kernels.utf8 import code_point

# Columns of a line: where it begins and ends, and where the text in it does; behind its last token; its length; flags;
# and the character that ended it.
L_START, L_STOP, L_FIRST, L_LAST = 0, 1, 2, 3
L_TOKENS, L_CHARS, L_FLAGS, L_END = 4, 5, 6, 7
L_COLUMNS = 8

# Flags of a line above those of its chunks.
CHUNK_MASK = 0xFFFF
BULLET, TRAILS_OFF, TERMINAL_LINE = 1 << 16, 1 << 17, 1 << 18
PADDED = 1 << 19  # white space around the text
OTHER_END, NO_END = 1 << 21, 1 << 22  # ended by something else than a line feed, or by nothing
NOT_BLANK, THREE_CHUNKS = 1 << 23, 1 << 24  # at least one chunk, at least three
RETURNS = 1 << 25  # a carriage return stands before its line feed

# A token is the row of a string, and this bit where more or other than one space stands before it in its line.
AFTER_GAP = 1 << 30
TOKEN_ROW = AFTER_GAP - 1

# What is counted of a document: its tokens and lines, and over its tokens words (with a character that is no
# punctuation), their characters, tokens with a letter, and the flags of its chunks. Minus the first two is returned
# when an array has no room; 1 to 3 are the lexicon's.
DOC_TOKENS, DOC_LINES = 4, 5
DOC_WORDS, DOC_WORD_CHARS, DOC_LETTERS, DOC_FLAGS = 6, 7, 8, 9
NUM_COUNTS = 10

EMPTY_LINE = np.uint64(0x2545F4914F6CDD1D)  # its hash

_U = np.uint64
_CHUNK_BASIS = np.uint64(0x9E3779B97F4A7C15)
_LOW_BITS, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_BLOCK, _AHEAD = 256, 8  # chunks
_LOW_HALF = np.uint64(0xFFFFFFFF)
_ABOVE_WHITE = np.uint64(0x2121212121212121)
_PLAIN, _CONTINUATION, _WHITE, _LEAD = 0, 1, 2, 3
_KIND = np.zeros(256, np.uint8)
_KIND[0x80:0xC0] = _CONTINUATION
_KIND[[*range(0x09, 0x0E), *range(0x1C, 0x21)]] = _WHITE
_KIND[[0xC2, 0xE1, 0xE2, 0xE3]] = _LEAD  # of U+0085 and U+00A0, U+1680, U+2000-205F, U+3000


class Tables(NamedTuple):
    """What a pass over a document leaves: its tokens (rows of the lexicon), its lines and their hashes.

    Beside it is room for the chunks of a scan: where each begins, its size (with AFTER_GAP) and its hash.
    """

    tokens_T: NDArray[np.int32]
    lines_L: NDArray[np.int32]
    hashes_L: NDArray[np.uint64]
    places_T2: NDArray[np.int32]
    states_T: NDArray[np.uint64]


@part
def _wide_space(text: NDArray[np.uint8], i: int, stop: int, flags_C: NDArray[np.uint16]) -> tuple[int, int]:
    """Return code point and width of the white space beyond ASCII at `i`, or 0 and 0 if there is none."""
    code, width = code_point(text, i, stop)
    if flags_C[code] & SPACE:
        return code, width
    return 0, 0


@part
def breaks_line(code: int) -> bool:
    """Whether `str.splitlines` breaks at this white space."""
    return 0x0A <= code <= 0x0D or 0x1C <= code <= 0x1E or code == 0x85 or 0x2028 <= code <= 0x2029


@inlined
def _chunk(text: NDArray[np.uint8], start: int, stop: int, flags_C: NDArray[np.uint16]) -> tuple[int, np.uint64, int]:
    """Return the end of the chunk at `start`, its hash, and how many of its bytes continue a character."""
    i, state, continuations, ended = start, _CHUNK_BASIS, 0, False
    while not ended:  # eight bytes, as `hash_bytes` reads them: those before white space or beyond ASCII first
        word, left = _U(0), 8
        if i + 8 <= stop:
            word = eight_bytes(text, _U(i))
            stops = ((word - _ABOVE_WHITE) | word) & _HIGH_BITS
            before = ((stops & (_U(0) - stops)) >> _U(7)) - _U(1)
            word &= before
            plain = int(((before & _LOW_BITS) * _LOW_BITS) >> _U(56))
            i += plain
            left -= plain
        while left:
            if i == stop:
                ended = True
                break
            byte = text[_U(i)]
            kind = _KIND[byte]
            if kind:
                if kind == _CONTINUATION:
                    continuations += 1
                elif kind == _WHITE or _wide_space(text, i, stop, flags_C)[1]:
                    ended = True
                    break
            word |= _U(byte) << _U(64 - 8 * left)
            i += 1
            left -= 1
        if left < 8:
            state = hash_step(state, word)
    return i, state, continuations


@part
def _cut(
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    flags_C: NDArray[np.uint16],
    slots_S: NDArray[np.uint64],
    tables: Tables,
    num_lines: int,
) -> tuple[int, int]:
    """Cut the next lines of a text into chunks, and write what can be said of them without looking up the chunks.

    Returns:
        How many lines there are then, or minus the number of an array without room; and where the next line begins,
        behind `stop` if there is none. Instead of its last token a line has its last chunk.
    """
    lines_L, places_T2, states_T = tables.lines_L, tables.places_T2, tables.states_T
    mask = _U(len(slots_S) - 1)
    num_chunks, i = 0, start
    while True:
        if num_lines == len(lines_L):
            return -DOC_LINES, i
        line, line_start = _U(num_lines), i
        first = last = i
        line_hash, flags = EMPTY_LINE, 0
        white, last_white, chars, chunks, code = 0, 0, 0, 0, 0
        end = -1
        while i < stop:
            kind = _KIND[text[_U(i)]]
            width = 0
            if kind == _WHITE:  # a call for every space would cost 2 ns a byte
                code, width = int(text[_U(i)]), 1
            elif kind == _LEAD:
                code, width = _wide_space(text, i, stop, flags_C)
            if width:
                if breaks_line(code) and not (code == 0x0D and i + 1 < stop and text[_U(i + 1)] == 0x0A):
                    end = i
                    i += width
                    break
                if code == 0x0D:  # before a line feed; `feed_lines` adds it to the hash where units are lines
                    flags |= RETURNS
                else:
                    line_hash = hash_step(line_hash, _U(code))
                white += 1
                last_white = code
                chars += 1
                i += width
                continue
            if num_chunks == len(states_T):
                return -DOC_TOKENS, i
            chunk_start = i
            i, state, continuations = _chunk(text, i, stop, flags_C)
            prefetch(slots_S, state & mask)
            chunk, size = _U(num_chunks), i - chunk_start
            states_T[chunk] = state
            places_T2[chunk, 0], places_T2[chunk, 1] = chunk_start, size
            if chunks == 0:
                first = chunk_start
                if white:
                    flags |= PADDED
            elif white != 1 or last_white != 0x20:
                places_T2[chunk, 1] = size | AFTER_GAP
            white = 0
            chars += size - continuations
            chunks += 1
            num_chunks += 1
            last = i
            line_hash = hash_step(line_hash, state)
        if chunks:
            flags |= NOT_BLANK
        if chunks > 2:
            flags |= THREE_CHUNKS
        if white:
            flags |= PADDED
        if end < 0:
            flags |= NO_END
        elif code != 0x0A:
            flags |= OTHER_END
        lines_L[line, L_START], lines_L[line, L_STOP] = line_start, i if end < 0 else end
        lines_L[line, L_FIRST], lines_L[line, L_LAST] = first, last
        lines_L[line, L_CHARS], lines_L[line, L_FLAGS], lines_L[line, L_END] = chars, flags, code
        lines_L[line, L_TOKENS] = num_chunks
        tables.hashes_L[line] = line_hash
        num_lines += 1
        if end < 0:
            return num_lines, stop + 1
        if num_chunks >= _BLOCK:
            return num_lines, i


@part
def _look_up(
    lexicon: Lexicon, text: NDArray[np.uint8], tables: Tables, num_lines: int, counts: NDArray[np.int64]
) -> int:
    """Write the tokens of the chunks that `_cut` found, and what they say of their lines; return as `scan` does."""
    rows_R, bytes_A, slots_S, from_T = lexicon.rows_R, lexicon.bytes_A, lexicon.slots_S, lexicon.tokens_T
    tokens_T, lines_L, places_T2, states_T = tables.tokens_T, tables.lines_L, tables.places_T2, tables.states_T
    mask = _U(len(slots_S) - 1)
    num_tokens, num_chunks, c = counts[DOC_TOKENS], wide(lines_L[_U(num_lines - 1), L_TOKENS]), 0
    words, word_chars, letters, doc_flags = 0, 0, 0, 0
    for l in range(counts[DOC_LINES], num_lines):
        line = _U(l)
        flags, last_flags, line_first, line_last = 0, 0, c, wide(lines_L[line, L_TOKENS])
        while c < line_last:
            ahead = states_T[_U(min(c + _AHEAD, num_chunks - 1))]
            entry = slots_S[ahead & mask]
            prefetch(rows_R, ((entry & _LOW_HALF) - _U(entry != 0)) * _U(COLUMNS))
            start, size, state = wide(places_T2[_U(c), 0]), wide(places_T2[_U(c), 1] & TOKEN_ROW), states_T[_U(c)]
            row = find(rows_R, bytes_A, slots_S, text, start, size, state)
            if row < 0 or rows_R[_U(row), TOKENS] == 0:
                row = learn(lexicon, text, start, size, state)
                if row < 0:
                    return row
            chunk = _U(row)
            size_tokens = rows_R[chunk, TOKENS]
            if num_tokens + max(size_tokens, NUM_INLINE) > len(tokens_T):
                return -DOC_TOKENS
            for k in range(NUM_INLINE):  # always all: asking for the number first is a guess that often fails
                tokens_T[_U(num_tokens + k)] = rows_R[chunk, INLINE + k]
            if size_tokens > NUM_INLINE:
                from_first = rows_R[chunk, FIRST]
                for k in range(size_tokens):
                    tokens_T[_U(num_tokens + k)] = from_T[_U(from_first + k)]
            tokens_T[_U(num_tokens)] |= places_T2[_U(c), 1] & AFTER_GAP
            num_tokens += size_tokens
            words += rows_R[chunk, WORDS]
            word_chars += rows_R[chunk, WORD_CHARS]
            letters += rows_R[chunk, LETTER_TOKENS]
            last_flags = wide(rows_R[chunk, CHUNK_FLAGS])
            flags |= last_flags
            if c == line_first and last_flags & STARTS_BULLET:
                flags |= BULLET
            c += 1
        doc_flags |= flags
        if last_flags & ENDS_ELLIPSIS:
            flags |= TRAILS_OFF
        if last_flags & ENDS_TERMINAL and lines_L[line, L_LAST] == lines_L[line, L_STOP]:
            flags |= TERMINAL_LINE
        lines_L[line, L_FLAGS] |= flags
        lines_L[line, L_TOKENS] = num_tokens
    counts[DOC_TOKENS], counts[DOC_LINES] = num_tokens, num_lines
    counts[DOC_WORDS] += words
    counts[DOC_WORD_CHARS] += word_chars
    counts[DOC_LETTERS] += letters
    counts[DOC_FLAGS] |= doc_flags & CHUNK_MASK
    return 0


@part
def scan(
    lexicon: Lexicon, text: NDArray[np.uint8], start: int, stop: int, tables: Tables, counts: NDArray[np.int64]
) -> int:
    """Append the lines of text[start:stop], and their tokens, to `tables`; return 0, or minus a full array's number.

    Args:
        lexicon: chunks seen before; new ones are added.
        text: uint8, UTF-8.
        start: first byte.
        stop: end of the text.
        tables: arrays to fill.
        counts: int64 [NUM_COUNTS], to which this text is added.

    About 3.5 ns a byte of English once its chunks are known. Allocates nothing but for new chunks. Some hundred chunks
    are cut before the first is looked up, so that the rows of the next ones are on their way when one is read: a third
    of the time of a scan that looked up each at once was waiting for them, one after the other.
    """
    i = start
    while i <= stop:
        num_lines, i = _cut(text, i, stop, lexicon.flags_C, lexicon.slots_S, tables, counts[DOC_LINES])
        full = num_lines if num_lines < 0 else _look_up(lexicon, text, tables, num_lines, counts)
        if full < 0:
            return full
    return 0
