"""Unigram: from the bytes of texts to the most probable tokens, word by word, with the vocabulary as a trie.

Shapes: N documents, M bytes, V vocabulary entries, S slots of a trie, A added tokens, W rows of the memory of words,
T tokens, C code points, L bytes of a word as it may become, P nodes: places between the bytes of one as it is.

A text is read character by character through `action_C`, which says what the tokenizer's normaliser and pre-tokeniser
do with a code point: the kind of action in the bits from 27 up and its argument below.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.added_tokens import next_added
from transforms.kernels.jit import borrowing, part
from transforms.kernels.loads import eight_bytes
from transforms.kernels.trie import START
from transforms.kernels.utf8 import code_point
from transforms.kernels.word_memory import MEMORY_BYTES, MEMORY_IDS, READ_BYTES, recall, word_key

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


@part
def _rewritten(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    marked: bool,
    as_is: bool,
    action_C: NDArray[np.int32],
    expansion_X: NDArray[np.uint8],
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
        action = action_C[_U(code)]
        kind = action >> KIND_SHIFT
        if as_is or kind == PLAIN or kind == MARK:  # noqa: PLR1714, SIM109 - `in` makes a tuple
            for k in range(width):
                word_L[_U(size + k)] = bytes_M[_U(i + k)]
            size += width
        elif kind == EXPANDED:
            place = action & _ARGUMENT
            for k in range(expansion_X[_U(place)]):
                word_L[_U(size + k)] = expansion_X[_U(place + 1 + k)]
            size += expansion_X[_U(place)]
        i += width
    return size


@part
def _best_path(
    word_L: NDArray[np.uint8],
    size: int,
    trie_S3: NDArray[np.int32],
    score_V: NDArray[np.float64],
    unk_score: float,
    unk: int,
    byte_ids: NDArray[np.int32],
    total_P: NDArray[np.float64],
    node_P3: NDArray[np.int32],
    ids_T: NDArray[np.unsignedinteger],
    num_ids: int,
) -> int:
    """Write the ids of word_L[:size] behind the first `num_ids`; return their new number.

    The sequence of entries with the largest sum of scores (Viterbi; Kudo 2018). Sums are made from the left, and of
    equal ones the last entry is the longest: rounding and ties decide about runs of one character, so both are as in
    `tokenizers`. A character that no entry is costs `unk_score`; several in a row are one `unk`, or with a token for
    each byte these.
    """
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
                candidate = so_far + score_V[_U(entry)]
                if node_P3[_U(i + 1), _BEGIN] < 0 or candidate > total_P[_U(i + 1)]:
                    total_P[_U(i + 1)] = candidate
                    node_P3[_U(i + 1), _BEGIN], node_P3[_U(i + 1), _PIECE] = start, entry
        start += width
        if not known:
            candidate = so_far + unk_score
            if node_P3[_U(start), _BEGIN] < 0 or candidate > total_P[_U(start)]:
                total_P[_U(start)] = candidate
                node_P3[_U(start), _BEGIN], node_P3[_U(start), _PIECE] = start - width, _ONE
    num_pieces = 0
    end = size
    while end > 0:
        node_P3[_U(num_pieces), _PATH] = end
        num_pieces += 1
        end = node_P3[_U(end), _BEGIN]
    p = num_pieces - 1
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
        by_bytes = not spelled
        for i in range(first, end):
            by_bytes = by_bytes and byte_ids[word_L[_U(i)]] >= 0
        if by_bytes:
            for i in range(first, end):
                ids_T[_U(num_ids)] = byte_ids[word_L[_U(i)]]
                num_ids += 1
        else:
            ids_T[_U(num_ids)] = unk
            num_ids += 1
    return num_ids


@borrowing
def unigram(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    action_C: NDArray[np.int32],
    expansion_X: NDArray[np.uint8],
    normal: bool,
    prepend: int,
    added_S3: NDArray[np.int32],
    added_length_A: NDArray[np.int32],
    added_id_A: NDArray[np.int32],
    trie_S3: NDArray[np.int32],
    score_V: NDArray[np.float64],
    unk_score: float,
    unk: int,
    byte_ids: NDArray[np.int32],
    word_L: NDArray[np.uint8],
    total_P: NDArray[np.float64],
    node_P3: NDArray[np.int32],
    key_W4: NDArray[np.uint64],
    ids_W16: NDArray[np.int32],
    first_document: int,
    num_ids: int,
    ids_T: NDArray[np.unsignedinteger],
    num_tokens_N: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Encode documents from `first_document` on, until one has a character whose action is UNKNOWN or too long a word.

    A document is cut at added tokens, each part into words, and a word that is not in the memory of words is normalised
    and taken apart by `_best_path`: for each of its characters the entries of the vocabulary that begin there. The cost
    grows with the length of the text times that of the longest entries.

    Args:
        offsets_N1: int32 [N + 1], UTF-8 text of document n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        action_C: int32 [C], C = 0x110000.
        expansion_X: uint8, see EXPANDED.
        normal: the texts are normalised: EXPANDED, MARK, REMOVED and FOREIGN mean nothing.
        prepend: NEVER, FIRST or ALWAYS.
        added_S3: see `next_added`.
        added_length_A: likewise.
        added_id_A: likewise.
        trie_S3: trie of the bytes of the entries, leading to their ids.
        score_V: float64 [V], by id.
        unk_score: of a character that no entry is.
        unk: token id.
        byte_ids: int32 [256], the token of a byte, or -1.
        word_L: uint8 [L], written.
        total_P: float64 [P], written.
        node_P3: int32 [P, 3], written.
        key_W4: uint64 [W, 4], keys of the memory of words, kept from call to call.
        ids_W16: int32 [W, 16], its ids, likewise.
        first_document: where to begin.
        num_ids: ids already in `ids_T`.
        ids_T: uint16 or uint32, written; needs a place for each document, two for each byte and four more.
        num_tokens_N: int32 [N], written; -1 for a document that the caller has to normalise, of which no id is written.

    Returns:
        The document to go on with (N at the end), the number of ids written, and the UNKNOWN code point, or minus the L
        that is needed, or minus the P if `word_L` has as many places.
    """
    last_read = len(bytes_M) - READ_BYTES
    for document in range(first_document, len(offsets_N1) - 1):
        first_id = num_ids
        text_start, stop = int(offsets_N1[document]), int(offsets_N1[document + 1])
        position = text_start
        code = -1
        while position < stop and code < 0:
            part_stop, number = next_added(bytes_M, position, stop, added_S3, added_length_A, added_id_A)
            i = word_start = position
            after_mark = position if position > text_start else -1  # an added token may end in a mark
            inside = marked = after_blank = False
            kind = PLAIN
            while kind != _END:
                kind, width = _END, 0
                if i < part_stop:
                    character, width = code_point(bytes_M, i, part_stop)
                    kind = action_C[_U(character)] >> KIND_SHIFT
                    if normal and kind <= FOREIGN:
                        kind = PLAIN
                    if kind <= MARK:
                        if kind == MARK:
                            if i == after_mark:
                                code = character
                                break
                            after_mark = i + width
                        if not inside:
                            inside = True
                            word_start = i
                            marked = prepend == ALWAYS or (prepend == FIRST and i == text_start)
                        i += width
                        while i < part_stop and action_C[_U(bytes_M[_U(i)])] == PLAIN and bytes_M[_U(i)] < 0x80:
                            i += 1
                        continue
                    if kind == REMOVED:
                        word_start += width if i == word_start else 0
                        i += width
                        continue
                    if kind <= UNKNOWN:
                        code = character
                        break
                if after_blank and i == word_start and (kind == BLANK or (kind == _END and number < 0)):
                    inside = False
                if inside:
                    size = i - word_start
                    row, a, b, c, d = 0, _U(0), _U(0), _U(0), _U(0)
                    remembered = size <= MEMORY_BYTES and word_start <= last_read
                    count = -1
                    if remembered:
                        at = _U(word_start)
                        a, b = eight_bytes(bytes_M, at), eight_bytes(bytes_M, at + _U(8))
                        c, d = eight_bytes(bytes_M, at + _U(16)), eight_bytes(bytes_M, at + _U(24))
                        row, a, b, c, d = word_key(size, a, b, c, d)
                        d |= (_U(marked) | _U(normal) << _U(1)) << _FLAGS
                        row, found = recall(row, a, b, c, d, key_W4, ids_W16)
                        if found:
                            count = int(ids_W16[_U(row), 0])
                            for k in range(4):  # nearly all words; what is too much is written over
                                ids_T[_U(num_ids + k)] = ids_W16[_U(row), 1 + k]
                            for k in range(4, count):
                                ids_T[_U(num_ids + k)] = ids_W16[_U(row), _U(1 + k)]
                    if count < 0:
                        if 4 * size + 4 > len(word_L):  # no expansion is longer than that
                            return document, first_id, -4 * size - 4
                        length = _rewritten(bytes_M, word_start, i, marked, normal, action_C, expansion_X, word_L)
                        if length >= len(total_P):
                            return document, first_id, -length - 1
                        count = (
                            _best_path(
                                word_L,
                                length,
                                trie_S3,
                                score_V,
                                unk_score,
                                unk,
                                byte_ids,
                                total_P,
                                node_P3,
                                ids_T,
                                num_ids,
                            )
                            - num_ids
                        )
                        if remembered and count <= MEMORY_IDS:
                            key_W4[_U(row), 0], key_W4[_U(row), 1] = a, b
                            key_W4[_U(row), 2], key_W4[_U(row), 3] = c, d
                            ids_W16[_U(row), 0] = count
                            for k in range(count):
                                ids_W16[_U(row), _U(1 + k)] = ids_T[_U(num_ids + k)]
                    num_ids += count
                i += width
                word_start = i
                inside = marked = kind == META or kind == BLANK  # noqa: PLR1714
                after_blank = kind == BLANK
            position = part_stop
            if number >= 0:
                ids_T[num_ids] = added_id_A[number]
                num_ids += 1
                position += added_length_A[number]
        if code >= 0:
            if action_C[code] >> KIND_SHIFT == UNKNOWN:
                return document, first_id, code
            num_ids = first_id
            num_tokens_N[document] = -1
        else:
            num_tokens_N[document] = num_ids - first_id
    return len(offsets_N1) - 1, num_ids, 0
