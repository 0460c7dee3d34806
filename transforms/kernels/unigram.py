"""Unigram: from the bytes of texts to the most probable tokens, word by word, with the vocabulary as a trie.

Shapes: N documents, M bytes, V vocabulary entries, S slots of a trie, A added tokens, W rows of the memory of words,
T tokens, C code points, L bytes of a word as it may become, P nodes: places between the bytes of one as it is.

A text is read character by character through `action_C`, which says what the tokenizer's normaliser and pre-tokeniser
do with a code point: the kind of action in the bits from 27 up and its argument below.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.added_tokens import AddedTokens, next_added
from transforms.kernels.jit import borrowing, part
from transforms.kernels.trie import START
from transforms.kernels.utf8 import code_point
from transforms.kernels.word_memory import (
    MEMORY_BYTES,
    MEMORY_IDS,
    READ_BYTES,
    WordMemory,
    recall,
    recalled_ids,
    remember,
    word_key,
)

PLAIN = 0  # part of a word, as it is
EXPANDED = 1  # part of a word as other bytes; argument: where `expansion_X` has their number, followed by them
MARK = 2  # part of a word, but behind another MARK normalisation may reorder them
REMOVED = 3  # as if it were not there
FOREIGN = 4  # normalisation depends on its neighbours: the document is left to the caller
UNKNOWN = 5  # the caller has to find out first
SPACE = 6  # ends a word
META = 7  # begins a word with a MARKER in front
BLANK = 8  # the same, but several in a row are one, and those at the end of a text none
KIND_SHIFT = 27

NEVER, FIRST, ALWAYS = 0, 1, 2  # which words that follow no META get a MARKER: none, that at the start of a text, all
MARKER = np.frombuffer("\u2581".encode(), np.uint8)

_U = np.uint64
_END = 9  # of the part of a text before an added token
_ONE = -2  # not an id: one character that the vocabulary lacks
_ARGUMENT = (1 << KIND_SHIFT) - 1
_BEGIN, _PIECE, _PATH = 0, 1, 2  # columns: best begin and piece of what ends here; ends of the best pieces, last first
_FLAGS = _U(61)  # bits of a key above the number of bytes
_MARKER_0, _MARKER_1, _MARKER_2 = (int(byte) for byte in MARKER)


class Reading(NamedTuple):
    """How a tokenizer makes words of characters."""

    action_C: NDArray[np.int32]  # C = 0x110000
    expansion_X: NDArray[np.uint8]  # see EXPANDED
    prepend: int  # NEVER, FIRST or ALWAYS


class Model(NamedTuple):
    """The vocabulary."""

    trie_S3: NDArray[np.int32]  # of the bytes of the entries, leading to their ids
    score_V: NDArray[np.float64]  # by id
    unk_score: float  # of a character that no entry is
    unk: int  # token id
    by_bytes: bool  # such a character becomes a token for each byte, if there are all
    byte_ids: NDArray[np.int32]  # [256], the token of a byte, or -1


class Room(NamedTuple):
    """Arrays that one word at a time is worked on in. Python makes those larger that the kernel found too short."""

    word_L: NDArray[np.uint8]
    total_P: NDArray[np.float64]  # the best sum of scores up to a node
    node_P3: NDArray[np.int32]


@part
def _next_cut(
    bytes_M: NDArray[np.uint8], i: int, stop: int, reading: Reading, normal: bool, after_mark: int
) -> tuple[int, int, int, int, int]:
    """Read the word that begins at `i` up to what ends it or cannot be read.

    Return where the word begins behind REMOVED characters and where it ends; the kind of what follows, FOREIGN for a
    MARK at `after_mark`, and its width, of UNKNOWN the code point; and the new `after_mark`, behind the last MARK.
    """
    start = i
    while i < stop:
        character, width = code_point(bytes_M, i, stop)
        kind = reading.action_C[_U(character)] >> KIND_SHIFT
        if normal and kind <= FOREIGN:
            kind = PLAIN
        if kind > REMOVED:
            return start, i, kind, character if kind == UNKNOWN else width, after_mark
        if kind == REMOVED:
            start += width if i == start else 0
            i += width
            continue
        if kind == MARK:
            if i == after_mark:
                return start, i, FOREIGN, width, after_mark
            after_mark = i + width
        i += width
        while i < stop and reading.action_C[_U(bytes_M[_U(i)])] == PLAIN and bytes_M[_U(i)] < 0x80:
            i += 1
    return start, i, _END, 0, after_mark


@part
def _rewritten(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    marked: bool,
    as_is: bool,
    reading: Reading,
    word_L: NDArray[np.uint8],
) -> int:
    """Write into `word_L` what becomes of bytes_M[start:stop], with a MARKER in front if `marked`; return its bytes."""
    size = 0
    if marked:
        word_L[0], word_L[1], word_L[2] = _MARKER_0, _MARKER_1, _MARKER_2
        size = 3
    i = start
    while i < stop:
        code, width = code_point(bytes_M, i, stop)
        action = reading.action_C[_U(code)]
        kind = action >> KIND_SHIFT
        if as_is or kind == PLAIN or kind == MARK:  # noqa: PLR1714, SIM109 - `in` makes a tuple
            for k in range(width):
                word_L[_U(size + k)] = bytes_M[_U(i + k)]
            size += width
        elif kind == EXPANDED:
            place = action & _ARGUMENT
            for k in range(reading.expansion_X[_U(place)]):
                word_L[_U(size + k)] = reading.expansion_X[_U(place + 1 + k)]
            size += reading.expansion_X[_U(place)]
        i += width
    return size


@part
def _best_pieces(size: int, model: Model, room: Room) -> None:
    """Find for each node of word_L[:size] the last piece of the best path that leads there (Viterbi; Kudo 2018).

    That is the sequence of entries with the largest sum of scores. Sums are made from the left, and of equal ones the
    last entry is the longest: rounding and ties decide about runs of one character, so both are as in `tokenizers`. A
    character that no entry is costs `unk_score`.
    """
    word_L, total_P, node_P3, trie_S3 = room.word_L, room.total_P, room.node_P3, model.trie_S3
    for end in range(size + 1):
        node_P3[_U(end), _BEGIN] = -1
    total_P[0] = 0.0
    start = 0
    while start < size:
        _, width = code_point(word_L, start, size)
        so_far = total_P[_U(start)]
        known = False
        slot = np.int32(START)
        for i in range(start, size):
            child = trie_S3[_U(slot), 0] + word_L[_U(i)] + 1
            if trie_S3[_U(child), 1] != slot:
                break
            slot = child
            entry = trie_S3[_U(slot), 2]
            if entry >= 0:
                known |= i + 1 - start == width
                candidate = so_far + model.score_V[_U(entry)]
                if node_P3[_U(i + 1), _BEGIN] < 0 or candidate > total_P[_U(i + 1)]:
                    total_P[_U(i + 1)] = candidate
                    node_P3[_U(i + 1), _BEGIN], node_P3[_U(i + 1), _PIECE] = start, entry
        start += width
        if not known:
            candidate = so_far + model.unk_score
            if node_P3[_U(start), _BEGIN] < 0 or candidate > total_P[_U(start)]:
                total_P[_U(start)] = candidate
                node_P3[_U(start), _BEGIN], node_P3[_U(start), _PIECE] = start - width, _ONE


@part
def _write_path(size: int, model: Model, room: Room, ids_T: NDArray[np.unsignedinteger], num_ids: int) -> int:
    """Write the ids of the best path through word_L[:size] behind the first `num_ids`; return how many.

    Several unknown characters in a row are one `unk`, or with a token for each byte these.
    """
    word_L, node_P3, unk, first_id = room.word_L, room.node_P3, model.unk, num_ids
    p, end = -1, size
    while end > 0:  # back from the last piece
        p += 1
        node_P3[_U(p), _PATH] = end
        end = node_P3[_U(end), _BEGIN]
    while p >= 0:
        end = node_P3[_U(p), _PATH]
        entry = node_P3[_U(end), _PIECE]
        p -= 1
        if entry != _ONE and entry != unk:  # noqa: PLR1714 - `in` makes a tuple
            ids_T[_U(num_ids)] = entry
            num_ids += 1
            continue
        first = node_P3[_U(end), _BEGIN]
        spelled = entry == unk  # a text that spells the unknown token, and nothing beside it
        while p >= 0:
            after = node_P3[_U(node_P3[_U(p), _PATH]), _PIECE]
            if after != _ONE and after != unk:  # noqa: PLR1714
                break
            end = node_P3[_U(p), _PATH]
            spelled = False
            p -= 1
        by_bytes = model.by_bytes and not spelled
        for i in range(first, end):
            by_bytes = by_bytes and model.byte_ids[word_L[_U(i)]] >= 0
        if by_bytes:
            for i in range(first, end):
                ids_T[_U(num_ids)] = model.byte_ids[word_L[_U(i)]]
                num_ids += 1
        else:
            ids_T[_U(num_ids)] = unk
            num_ids += 1
    return num_ids - first_id


@part
def _encode_word(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    marked: bool,
    normal: bool,
    reading: Reading,
    model: Model,
    memory: WordMemory,
    room: Room,
    ids_T: NDArray[np.unsignedinteger],
    num_ids: int,
) -> int:
    """Write the ids of bytes_M[start:stop] behind the first `num_ids`; return how many, or minus the L or P needed."""
    size = stop - start
    row, a, b, c, d = 0, _U(0), _U(0), _U(0), _U(0)
    remembered = size <= MEMORY_BYTES and start <= len(bytes_M) - READ_BYTES
    if remembered:
        row, a, b, c, d = word_key(bytes_M, start, size)
        d |= (_U(marked) | _U(normal) << _U(1)) << _FLAGS
        row, found = recall(row, a, b, c, d, memory)
        if found:
            return recalled_ids(row, memory, ids_T, num_ids)
    if 4 * size + 4 > len(room.word_L):  # no expansion is longer than that
        return -4 * size - 4
    length = _rewritten(bytes_M, start, stop, marked, normal, reading, room.word_L)
    if length >= len(room.total_P):
        return -length - 1
    _best_pieces(length, model, room)
    count = _write_path(length, model, room, ids_T, num_ids)
    if remembered and count <= MEMORY_IDS:
        remember(row, a, b, c, d, memory, ids_T, num_ids, count)
    return count


@borrowing
def unigram(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    normal: bool,
    added: AddedTokens,
    reading: Reading,
    model: Model,
    memory: WordMemory,
    room: Room,
    first_document: int,
    num_ids: int,
    ids_T: NDArray[np.unsignedinteger],
    num_tokens_N: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Encode documents from `first_document` on, until one has a character whose action is UNKNOWN or too long a word.

    A document is cut at added tokens, each part into words, and a word that is not in the memory of words is normalised
    and taken apart: for each of its characters the entries of the vocabulary that begin there. The cost grows with the
    length of the text times that of the longest entries.

    Args:
        offsets_N1: int32 [N + 1], UTF-8 text of document n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        normal: the texts are normalised: EXPANDED, MARK, REMOVED and FOREIGN mean nothing.
        added: of the tokenizer.
        reading: likewise.
        model: likewise.
        memory: kept from call to call.
        room: written.
        first_document: where to begin.
        num_ids: ids already in `ids_T`.
        ids_T: uint16 or uint32, written; needs a place for each document, two for each byte and four more.
        num_tokens_N: int32 [N], written; -1 for a document that the caller has to normalise, of which no id is written.

    Returns:
        The document to go on with (N at the end), the number of ids written, and the UNKNOWN code point, or minus the L
        that is needed, or minus the P if `word_L` has as many places.
    """
    for document in range(first_document, len(offsets_N1) - 1):
        first_id = num_ids
        text_start, stop = int(offsets_N1[document]), int(offsets_N1[document + 1])
        position = text_start
        readable = True
        while position < stop and readable:
            part_stop, number = next_added(bytes_M, position, stop, added)
            i = position
            after_mark = position if position > text_start else -1  # an added token may end in a mark
            marked = after_blank = False
            kind = PLAIN
            while kind != _END:
                start, i, kind, width_or_code, after_mark = _next_cut(
                    bytes_M, i, part_stop, reading, normal, after_mark
                )
                if kind == UNKNOWN:
                    return document, first_id, width_or_code
                if kind == FOREIGN:
                    readable = False
                    break
                marked |= i > start and (
                    reading.prepend == ALWAYS or (reading.prepend == FIRST and start == text_start)
                )
                dropped = after_blank and i == start and (kind == BLANK or (kind == _END and number < 0))
                if (i > start or marked) and not dropped:
                    count = _encode_word(
                        bytes_M, start, i, marked, normal, reading, model, memory, room, ids_T, num_ids
                    )
                    if count < 0:
                        return document, first_id, count
                    num_ids += count
                i += width_or_code
                marked = kind == META or kind == BLANK  # noqa: PLR1714
                after_blank = kind == BLANK
            position = part_stop
            if number >= 0:
                ids_T[num_ids] = added.id_A[number]
                num_ids += 1
                position += added.length_A[number]
        if readable:
            num_tokens_N[document] = num_ids - first_id
        else:
            num_ids = first_id
            num_tokens_N[document] = -1
    return len(offsets_N1) - 1, num_ids, 0
