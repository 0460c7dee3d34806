"""Byte-level BPE: from the bytes of texts to token ids in one pass, without a queue of merges.

A token is known here by a rank: 0 to 255 for the bytes, 256 + r for the result of merge r. Merges are tried in that
order.

Shapes: N documents, M bytes, K ranks, S slots of a trie, H places of a hash table, T tokens, C code points.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.added_tokens import AddedTokens, next_added
from transforms.kernels.jit import allocating_part, inlined, kernel, part
from transforms.kernels.merge_table import NO_RANK, merged_rank
from transforms.kernels.pieces import MARK, UNKNOWN, gpt2_pieces, tiktoken_pieces
from transforms.kernels.trie import START, longest_entry
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

SEEN_BITS = 15  # pairs of tokens whose verdict is remembered: 256 KB

_U = np.uint64
_AT_ONCE = 1024  # pieces; with arrays as long as the longest document, new pages cost 3 ns a byte in books
_BLANK = 0x20


class Model(NamedTuple):
    """The vocabulary and the merges."""

    whole_S3: NDArray[np.int32]  # trie of tokens that merges do not make, but that a whole piece is, to their ids
    trie_S3: NDArray[np.int32]  # trie of the bytes of the tokens, leading to their ranks
    token_K4: NDArray[np.int32]  # see _LEFT, _RIGHT, _SHORTER and _BYTES
    pairs_H2: NDArray[np.int64]  # see `pair_slot`: pairs of ranks and the rank they merge to
    id_K: NDArray[np.int32]
    seen_J: NDArray[np.int64]  # [1 << SEEN_BITS], -1 at first: pairs asked about, `left << 33 | right << 1 | verdict`


# Columns: the two that merge to a token (a byte twice), the longest it begins with (-1 for a byte), its bytes.
_LEFT, _RIGHT, _SHORTER, _BYTES = 0, 1, 2, 3


@inlined
def _stand_together(left: int, right: int, token_K4: NDArray[np.int32], pairs_H2: NDArray[np.int64]) -> bool:
    """Return whether BPE on the bytes of two tokens gives these two tokens.

    It undoes the merges inside both, last one first, and looks whether a merge across the border would have come
    before.
    """
    before = NO_RANK  # a merge across the border below this rank would have come first
    while True:
        if merged_rank(left, right, pairs_H2) < before:
            return False
        if left > right:  # the merge that made `left` was the later one
            before = left
            left = int(token_K4[_U(left), _RIGHT])
            if left == before:  # a byte, and so is `right`
                return True
        else:  # of merges of the same rank the left one comes first
            if right < 256:
                return True
            before = right + 1
            right = int(token_K4[_U(right), _LEFT])


@part
def _whole_token(bytes_M: NDArray[np.uint8], start: int, stop: int, whole_S3: NDArray[np.int32]) -> int:
    """Return the id of the token that bytes_M[start:stop] is by itself, or -1."""
    slot = np.int32(START)
    for i in range(start, stop):
        child = whole_S3[_U(slot), 0] + bytes_M[_U(i)] + 1
        if whole_S3[_U(child), 1] != slot:
            return -1
        slot = child
    return int(whole_S3[_U(slot), 2])


@part
def _may_follow(left: int, rank: int, model: Model) -> bool:
    """Return whether BPE on the bytes of two tokens gives these two tokens; pairs asked about before are known."""
    key = left << 32 | rank
    place = int((_U(key) * _U(0x9E3779B97F4A7C15)) >> _U(64 - SEEN_BITS))
    if model.seen_J[_U(place)] >> 1 == key:
        return model.seen_J[_U(place)] & 1 == 1
    together = _stand_together(left, rank, model.token_K4, model.pairs_H2)
    model.seen_J[_U(place)] = key << 1 | together
    return together


@part
def _ranks(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    number: int,
    model: Model,
    dead: NDArray[np.int32],
    ranks: NDArray[np.int32],
) -> int:
    """Write the ranks of the tokens that BPE gives for bytes_M[start:stop]; return how many.

    A position from which nothing leads to the end gets the `number` of the word in `dead`.
    """
    num_ranks = 0
    position = start
    while position < stop:
        # `position` was reached by the one valid way; `rank` is the longest token here that was not tried yet.
        rank = longest_entry(bytes_M, position, stop, model.trie_S3)
        while True:
            if rank < 0:
                assert num_ranks > 0  # the tokens that BPE gives always lead to the end
                dead[_U(position - start)] = number
                num_ranks -= 1
                rank = int(ranks[_U(num_ranks)])
                position -= model.token_K4[_U(rank), _BYTES]
            end = position + int(model.token_K4[_U(rank), _BYTES])
            fits = end == stop or dead[_U(end - start)] != number
            if fits and (num_ranks == 0 or _may_follow(int(ranks[_U(num_ranks - 1)]), rank, model)):
                break
            rank = int(model.token_K4[_U(rank), _SHORTER])
        ranks[_U(num_ranks)] = rank
        num_ranks += 1
        position = end
    return num_ranks


@allocating_part
def _encode_pieces(
    bytes_M: NDArray[np.uint8],
    start: int,
    ends: NDArray[np.int32],
    num_pieces: int,
    model: Model,
    memory: WordMemory,
    dead: NDArray[np.int32],
    ranks: NDArray[np.int32],
    num_words: int,
    ids_T: NDArray[np.unsignedinteger],
    num_ids: int,
) -> int:
    """Write the ids of the pieces that begin at `start` and end at `ends`; return the new number of ids.

    A piece is looked up in the memory of words (19 of 20 are there), and only then taken apart. One function for many
    pieces: with one call a word, passing the arrays cost more than most words.
    """
    whole_S3, id_K, last_read = model.whole_S3, model.id_K, len(bytes_M) - READ_BYTES
    stop = start
    for piece in range(num_pieces):
        begin, stop = stop, int(ends[_U(piece)])
        size = stop - begin
        row, a, b, c, d = 0, _U(0), _U(0), _U(0), _U(0)
        remembered = size <= MEMORY_BYTES and begin <= last_read
        if remembered:
            row, a, b, c, d = word_key(bytes_M, begin, size)
            row, found = recall(row, a, b, c, d, memory)
            if found:
                num_ids += recalled_ids(row, memory, ids_T, num_ids)
                continue
        elif size >= len(dead):
            dead = np.full(2 * size, -1, np.int32)
            ranks = np.empty(2 * size, np.int32)
        whole = _whole_token(bytes_M, begin, stop, whole_S3)
        if whole >= 0:
            ids_T[_U(num_ids)] = whole
            num_ids += 1
            continue
        count = _ranks(bytes_M, begin, stop, num_words + piece, model, dead, ranks)
        for r in range(count):
            ids_T[_U(num_ids + r)] = id_K[_U(ranks[_U(r)])]
        if remembered and count <= MEMORY_IDS:
            remember(row, a, b, c, d, memory, ids_T, num_ids, count)
        num_ids += count
    return num_ids


@allocating_part
def _behind_blank(bytes_M: NDArray[np.uint8], start: int, stop: int, spare: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an array that begins with a blank and bytes_M[start:stop]: `spare`, if that is long enough."""
    size = 1 + stop - start
    if size + READ_BYTES > len(spare):
        spare = np.empty(2 * (size + READ_BYTES), np.uint8)
    spare[0] = _BLANK
    for k in range(1, size):
        spare[_U(k)] = bytes_M[_U(start + k - 1)]
    return spare


@kernel
def byte_level(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    class_C: NDArray[np.uint8],
    normal: bool,
    most_digits: int,
    prefix_blank: bool,
    added: AddedTokens,
    model: Model,
    memory: WordMemory,
    first_document: int,
    num_ids: int,
    ids_T: NDArray[np.unsignedinteger],
    num_tokens_N: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Encode documents from `first_document` on, until one has a character whose class is UNKNOWN.

    A document is cut at added tokens (leftmost, longest), each part into pieces by a pattern, and each piece into
    the tokens that BPE gives: the only sequence in which every two neighbours are what BPE gives for their bytes alone
    (Antwerpen and Neubeck, "So many tokens, so little time", 2024). It is found from the left, the longest token first;
    a position from which nothing leads to the end is never entered again, so the cost grows with the length, also on
    long runs of one character.

    Args:
        offsets_N1: int32 [N + 1], UTF-8 text of document n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        class_C: uint8 [C], C = 0x110000.
        normal: the texts are normalised, CHANGES and MARK mean nothing.
        most_digits: 0 for GPT-2's pattern; else that of tiktoken, with as many digits in one piece.
        prefix_blank: put a blank before each part that does not begin with one.
        added: of the tokenizer.
        model: of the tokenizer.
        memory: of words, kept from call to call.
        first_document: where to begin.
        num_ids: ids already in `ids_T`.
        ids_T: uint16 or uint32, written; needs a place for each byte and four more, and with `prefix_blank` two a byte
            and one a document.
        num_tokens_N: int32 [N], written; -1 for a document that the normaliser may change, of which no id is written.

    Returns:
        The document to go on with (N at the end), the number of ids written, and the UNKNOWN code point.
    """
    ends = np.empty(_AT_ONCE, np.int32)
    dead = np.full(4096, -1, np.int32)  # number of the word in which a position leads nowhere
    ranks = np.empty(4096, np.int32)
    num_words = 0
    spare = np.empty(4096, np.uint8)
    for document in range(first_document, len(offsets_N1) - 1):
        first_id = num_ids
        position, stop = int(offsets_N1[document]), int(offsets_N1[document + 1])
        code = -1
        while position < stop and code < 0:
            end, number = next_added(bytes_M, position, stop, added)
            source = bytes_M
            i, part_stop = position, end
            if not normal and int(offsets_N1[document]) < i < part_stop:  # an added token may end in a mark
                first, _ = code_point(bytes_M, i, part_stop)
                code = first if class_C[_U(first)] & MARK else -1
            if prefix_blank and i < part_stop and bytes_M[i] != _BLANK:
                source = spare = _behind_blank(bytes_M, i, part_stop, spare)
                i, part_stop = 0, part_stop - i + 1
            while i < part_stop and code < 0:
                if most_digits == 0:
                    num_pieces, after, code = gpt2_pieces(source, i, part_stop, class_C, normal, ends)
                else:
                    num_pieces, after, code = tiktoken_pieces(source, i, part_stop, class_C, normal, most_digits, ends)
                num_ids = _encode_pieces(
                    source, i, ends, num_pieces, model, memory, dead, ranks, num_words, ids_T, num_ids
                )
                num_words += num_pieces
                i = after
            position = end
            if number >= 0:
                ids_T[num_ids] = added.id_A[number]
                num_ids += 1
                position += added.length_A[number]
        if code >= 0:
            if class_C[code] == UNKNOWN:
                return document, first_id, code
            num_ids = first_id
            num_tokens_N[document] = -1
        else:
            num_tokens_N[document] = num_ids - first_id
    return len(offsets_N1) - 1, num_ids, 0
