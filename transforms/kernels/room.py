"""The arrays that the quality kernels work in: made, seeded, and enlarged when a kernel finds one full."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.characters import character_table
from transforms.kernels.english import EXCEPTIONS
from transforms.kernels.lexicon import COLUMNS, NUM_BYTES, NUM_ROWS, NUM_TOKENS, Lexicon, Splitting, rehash, seed
from transforms.kernels.lines import DOC_TOKENS, L_COLUMNS, Tables
from transforms.kernels.repetition import Scratch
from transforms.kernels.units import Units

# Gopher's stop words, one flag each.
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

# As many rows as a memory holds before it starts afresh, and a batch adds: what is not used takes no memory, and
# growing would copy. 2**20 are 100 MB.
_ROWS, _ROW_BYTES, _DOC = 1 << 20, 12, 1 << 14
_CHUNK = 256  # characters of chunks that are split without an allocation


class Room(NamedTuple):
    """Arrays that one document at a time is worked on in. Python makes those larger that a kernel found full."""

    first: Tables
    second: Tables
    units: Units
    scratch: Scratch


def new_lexicon(flags_C: NDArray[np.uint16] | None = None, *, num_rows: int = _ROWS) -> Lexicon:
    """Return a lexicon that knows the stop words and exceptions: 2 ms.

    `flags_C` is `character_table` by default; with `by_character_table` Chinese, Japanese and Thai split too.
    """
    lexicon = Lexicon(
        rows_R=np.zeros((num_rows, COLUMNS), np.int32),
        bytes_A=np.zeros(num_rows * _ROW_BYTES, np.uint8),
        tokens_T=np.zeros(2 * num_rows, np.int32),
        slots_S=np.zeros(2 * num_rows, np.uint64),
        used=np.zeros(4, np.int64),
        flags_C=character_table() if flags_C is None else flags_C,
        lengths_F=np.zeros(1 << 14, np.uint16),
        splitting=Splitting(
            places_K1=np.zeros(_CHUNK + 1, np.int64),
            codes_K=np.zeros(_CHUNK, np.int32),
            flags_K=np.zeros(_CHUNK, np.uint16),
            bounds_P1=np.zeros(2 * _CHUNK + 2, np.int64),
            merged_P=np.zeros(_CHUNK, np.int64),
            again_P1=np.zeros(32, np.int64),
        ),
    )
    exceptions = [*((word,) for word in STOP_WORDS), *EXCEPTIONS.values()]
    pieces = [piece.encode() for exception in exceptions for piece in exception]
    text = np.frombuffer(b"".join(pieces), np.uint8).copy()
    pieces_P1 = np.cumsum([0, *map(len, pieces)])
    chunks_E1 = np.cumsum([0, *map(len, exceptions)])
    seed(lexicon, text, pieces_P1, chunks_E1, len(STOP_WORDS))
    return lexicon


def new_room(num_rows: int, num_tokens: int = _DOC, num_lines: int = _DOC // 4) -> Room:
    """Return arrays for documents of so many tokens and lines over a lexicon of so many rows."""
    slots = 1 << max(4, (2 * max(num_tokens, num_lines) - 1).bit_length())
    first, second = (
        Tables(
            tokens_T=np.zeros(num_tokens, np.int32),
            lines_L=np.zeros((num_lines, L_COLUMNS), np.int32),
            hashes_L=np.zeros(num_lines, np.uint64),
            places_T2=np.zeros((num_tokens, 2), np.int32),
            states_T=np.zeros(num_tokens, np.uint64),
        )
        for _ in range(2)
    )
    units = Units(
        hashes_L=np.zeros(num_lines, np.uint64),
        chars_L=np.zeros(num_lines, np.int32),
        flags_L=np.zeros(num_lines, np.int32),
    )
    scratch = Scratch(
        keys_S=np.zeros(slots, np.uint64),
        values_S=np.zeros(slots, np.int32),
        at_T=np.zeros(num_tokens, np.int32),
        gram_T=np.zeros(num_tokens, np.int32),
        key_T=np.zeros(num_tokens, np.uint64),
        count_T=np.zeros(num_tokens, np.int32),
        first_T=np.zeros(num_tokens, np.int32),
        chars_T=np.zeros(num_tokens + 1, np.int32),
        seen_R=np.zeros(num_rows, np.int64),
    )
    return Room(first, second, units, scratch)


def enlarged(lexicon: Lexicon, room: Room, full: int) -> tuple[Lexicon, Room]:
    """Return lexicon and room with the array that a kernel reported as `full` twice as large."""
    if full == NUM_BYTES:
        return lexicon._replace(bytes_A=_doubled(lexicon.bytes_A)), room
    if full == NUM_TOKENS:
        return lexicon._replace(tokens_T=_doubled(lexicon.tokens_T)), room
    num_rows, num_tokens, num_lines = len(lexicon.rows_R), len(room.first.tokens_T), len(room.first.hashes_L)
    if full == NUM_ROWS:
        slots_S = np.zeros(2 * len(lexicon.slots_S), np.uint64)
        rehash(lexicon.slots_S, lexicon.rows_R, slots_S)
        lexicon = lexicon._replace(rows_R=_doubled(lexicon.rows_R), slots_S=slots_S)
        scratch = room.scratch._replace(seen_R=_doubled(room.scratch.seen_R))
        return lexicon, room._replace(scratch=scratch)
    if full == DOC_TOKENS:
        return lexicon, new_room(num_rows, 2 * num_tokens, num_lines)
    return lexicon, new_room(num_rows, num_tokens, 2 * num_lines)


def _doubled(array: np.ndarray) -> np.ndarray:
    """Return an array twice as long that begins with the contents of `array`."""
    larger = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
