"""Byte-level BPE: from the bytes of texts to token ids in one pass, without a queue of merges.

A token is known here by a rank: 0 to 255 for the bytes, 256 + r for the result of merge r. Merges are tried in that
order.

Shapes: N documents, M bytes, K ranks, S slots of a trie, H places of a hash table, T tokens, C code points.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.added_tokens import AddedTokens, next_added
from transforms.kernels.jit import allocating_part, inlined, kernel
from transforms.kernels.pieces import MARK, UNKNOWN, gpt2_pieces, tiktoken_pieces
from transforms.kernels.trie import START
from transforms.kernels.utf8 import code_point
from transforms.kernels.word_memory import MEMORY_BYTES, MEMORY_IDS, READ_BYTES, WordMemory, word_key

NO_RANK = 1 << 30

SEEN_BITS = 15  # pairs of tokens whose verdict is remembered: 256 KB

_U = np.uint64
_AT_ONCE = 1024  # pieces; with arrays as long as the longest document, new pages cost 3 ns a byte in books
_BLANK = 0x20


@inlined
def pair_slot(left: int, right: int, pairs_H2: NDArray[np.int64]) -> int:
    """Return where the pair is in the hash table, or where it would be; `pairs_H2` is int64 [H, 2], H a power of two.

    Column 0 is the pair as `left << 32 | right` (-1: free), column 1 the rank of what it merges to.
    """
    key = left << 32 | right
    mixed = (_U(key) ^ (_U(key) >> _U(29))) * _U(0x9E3779B97F4A7C15)
    mask = len(pairs_H2) - 1
    slot = int(mixed >> _U(32)) & mask
    while pairs_H2[_U(slot), 0] != key and pairs_H2[_U(slot), 0] >= 0:
        slot = (slot + 1) & mask
    return slot


@inlined
def _merged(left: int, right: int, pairs_H2: NDArray[np.int64]) -> int:
    """Return the rank that the pair merges to, or NO_RANK."""
    slot = pair_slot(left, right, pairs_H2)
    return int(pairs_H2[_U(slot), 1]) if pairs_H2[_U(slot), 0] >= 0 else NO_RANK


@kernel
def add_pairs(
    left_R: NDArray[np.int32], right_R: NDArray[np.int32], result_R: NDArray[np.int32], pairs_H2: NDArray[np.int64]
) -> None:
    """Enter pairs (int32 [R]) and what they merge to into an empty hash table with at least 2 R places.

    Of equal pairs the last one stays, as in the dictionary that `tokenizers` reads merges into.
    """
    for r in range(len(left_R)):
        slot = pair_slot(int(left_R[r]), int(right_R[r]), pairs_H2)
        pairs_H2[slot, 0] = int(left_R[r]) << 32 | int(right_R[r])
        pairs_H2[slot, 1] = result_R[r]


@kernel
def last_merges(
    tokens_M: NDArray[np.int32],
    offsets_V1: NDArray[np.int32],
    pairs_H2: NDArray[np.int64],
    result_R: NDArray[np.int32],
    last_V: NDArray[np.int32],
) -> None:
    """Find by which merge each token comes into being when BPE runs on its bytes alone.

    Merges the pair of least rank, the leftmost of equals, until none is left: quadratic, for tokens only.

    Args:
        tokens_M: int32, ids of the single bytes of each token, one token after the other.
        offsets_V1: int32 [V + 1].
        pairs_H2: int64 [H, 2], pairs of ids and the number of the merge.
        result_R: int32 [R], id that a merge makes.
        last_V: int32 [V], written: the merge, or -1 if the bytes do not end up as one token.
    """
    for v in range(len(last_V)):
        parts = tokens_M[offsets_V1[v] : offsets_V1[v + 1]].copy()
        num_parts = len(parts)
        last = -1
        while num_parts > 1:
            least, where = NO_RANK, -1
            for i in range(num_parts - 1):
                merge = _merged(int(parts[i]), int(parts[i + 1]), pairs_H2)
                if merge < least:
                    least, where = merge, i
            if where < 0:
                break
            last = least
            parts[where] = result_R[least]
            for i in range(where + 1, num_parts - 1):
                parts[i] = parts[i + 1]
            num_parts -= 1
        last_V[v] = last if num_parts == 1 else -1


@inlined
def _stand_together(left: int, right: int, token_K4: NDArray[np.int32], pairs_H2: NDArray[np.int64]) -> bool:
    """Return whether BPE on the bytes of two tokens gives these two tokens.

    It undoes the merges inside both, last one first, and looks whether a merge across the border would have come
    before.
    """
    before = NO_RANK  # a merge across the border below this rank would have come first
    while True:
        if _merged(left, right, pairs_H2) < before:
            return False
        if left > right:  # the merge that made `left` was the later one
            before = left
            left = int(token_K4[_U(left), 1])
            if left == before:  # a byte, and so is `right`
                return True
        else:  # of merges of the same rank the left one comes first
            if right < 256:
                return True
            before = right + 1
            right = int(token_K4[_U(right), 0])


@allocating_part
def _words(
    bytes_M: NDArray[np.uint8],
    start: int,
    ends: NDArray[np.int32],
    num_pieces: int,
    whole_S3: NDArray[np.int32],
    trie_S3: NDArray[np.int32],
    token_K4: NDArray[np.int32],
    pairs_H2: NDArray[np.int64],
    id_K: NDArray[np.int32],
    seen_J: NDArray[np.int64],
    key_W4: NDArray[np.uint64],
    ids_W16: NDArray[np.int32],
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
    last_read = len(bytes_M) - READ_BYTES
    stop = start
    for piece in range(num_pieces):
        begin, stop = stop, int(ends[_U(piece)])
        size = stop - begin
        row, a, b, c, d = 0, _U(0), _U(0), _U(0), _U(0)
        remembered = size <= MEMORY_BYTES and begin <= last_read
        if remembered:
            row, a, b, c, d = word_key(bytes_M, begin, size)
            # As `recall`, which inlined here cost a sixth of the speed.
            differs = key_W4[_U(row), 0] ^ a | key_W4[_U(row), 1] ^ b | key_W4[_U(row), 2] ^ c | key_W4[_U(row), 3] ^ d
            if differs != 0:
                row += 1
                differs = key_W4[_U(row), 0] ^ a | key_W4[_U(row), 1] ^ b
                differs |= key_W4[_U(row), 2] ^ c | key_W4[_U(row), 3] ^ d
                if differs == 0:
                    for k in range(4):
                        key_W4[_U(row - 1), k], key_W4[_U(row), k] = key_W4[_U(row), k], key_W4[_U(row - 1), k]
                    for k in range(1 + MEMORY_IDS):
                        ids_W16[_U(row - 1), k], ids_W16[_U(row), k] = ids_W16[_U(row), k], ids_W16[_U(row - 1), k]
                    row -= 1
            if differs == 0:
                count = int(ids_W16[_U(row), 0])
                for k in range(4):  # nearly all words; what is too much is written over
                    ids_T[_U(num_ids + k)] = ids_W16[_U(row), 1 + k]
                for k in range(4, count):
                    ids_T[_U(num_ids + k)] = ids_W16[_U(row), _U(1 + k)]
                num_ids += count
                continue
        elif size >= len(dead):
            dead = np.full(2 * size, -1, np.int32)
            ranks = np.empty(2 * size, np.int32)
        slot = np.int32(START)
        i = begin
        while i < stop:
            child = whole_S3[_U(slot), 0] + bytes_M[_U(i)] + 1
            if whole_S3[_U(child), 1] != slot:
                break
            slot = child
            i += 1
        if i == stop and whole_S3[_U(slot), 2] >= 0:
            ids_T[_U(num_ids)] = whole_S3[_U(slot), 2]
            num_ids += 1
            continue
        position = begin
        num_ranks = 0
        searching = True
        rank = -1
        while position < stop:
            if searching:
                slot = np.int32(START)
                rank = -1
                for i in range(position, stop):
                    child = trie_S3[_U(slot), 0] + bytes_M[_U(i)] + 1
                    if trie_S3[_U(child), 1] != slot:
                        break
                    slot = child
                    if trie_S3[_U(slot), 2] >= 0:
                        rank = int(trie_S3[_U(slot), 2])
                searching = False
            # `position` was reached by the one valid way; `rank` is the longest token here that was not tried yet.
            if rank < 0:
                assert num_ranks > 0  # the tokens that BPE gives always lead to the end
                dead[_U(position - begin)] = num_words + piece
                num_ranks -= 1
                rank = int(ranks[_U(num_ranks)])
                position -= token_K4[_U(rank), 3]
            end = position + int(token_K4[_U(rank), 3])
            fits = end == stop or dead[_U(end - begin)] != num_words + piece
            if fits and num_ranks > 0:
                left = int(ranks[_U(num_ranks - 1)])
                key = left << 32 | rank
                place = int((_U(key) * _U(0x9E3779B97F4A7C15)) >> _U(64 - SEEN_BITS))
                if seen_J[_U(place)] >> 1 == key:
                    fits = seen_J[_U(place)] & 1 == 1
                else:
                    fits = _stand_together(left, rank, token_K4, pairs_H2)
                    seen_J[_U(place)] = key << 1 | fits
            if fits:
                ranks[_U(num_ranks)] = rank
                num_ranks += 1
                position = end
                searching = True
            else:
                rank = int(token_K4[_U(rank), 2])
        for r in range(num_ranks):
            ids_T[_U(num_ids + r)] = id_K[_U(ranks[_U(r)])]
        if remembered and num_ranks <= MEMORY_IDS:
            key_W4[_U(row), 0], key_W4[_U(row), 1], key_W4[_U(row), 2], key_W4[_U(row), 3] = a, b, c, d
            ids_W16[_U(row), 0] = num_ranks
            for k in range(num_ranks):
                ids_W16[_U(row), _U(1 + k)] = id_K[_U(ranks[_U(k)])]
        num_ids += num_ranks
    return num_ids


@kernel
def byte_level(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    class_C: NDArray[np.uint8],
    normal: bool,
    most_digits: int,
    prefix_blank: bool,
    added: AddedTokens,
    whole_S3: NDArray[np.int32],
    trie_S3: NDArray[np.int32],
    token_K4: NDArray[np.int32],
    pairs_H2: NDArray[np.int64],
    id_K: NDArray[np.int32],
    seen_J: NDArray[np.int64],
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
        whole_S3: trie of the bytes of tokens that merges do not make, but that a whole piece is, leading to their ids.
        trie_S3: trie of the bytes of the tokens, leading to their ranks.
        token_K4: int32 [K, 4], for each token: the ranks of the two that merge to it (itself twice for a byte), the
            rank of the longest token that it begins with (-1 for a byte), and its bytes.
        pairs_H2: int64 [H, 2], see `pair_slot`: pairs of ranks and the rank they merge to.
        id_K: int32 [K], token ids.
        seen_J: int64 [1 << SEEN_BITS], -1 at first, kept from call to call: the pairs asked about last, `left << 33 |
            right << 1 | verdict`.
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
    part = np.empty(4096, np.uint8)
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
                if part_stop - i + 1 + READ_BYTES > len(part):
                    part = np.empty(2 * (part_stop - i + 1 + READ_BYTES), np.uint8)
                part[0] = _BLANK
                part[1 : part_stop - i + 1] = bytes_M[i:part_stop]
                source = part
                i, part_stop = 0, part_stop - i + 1
            while i < part_stop and code < 0:
                if most_digits == 0:
                    num_pieces, next_start, code = gpt2_pieces(source, i, part_stop, class_C, normal, ends)
                else:
                    num_pieces, next_start, code = tiktoken_pieces(
                        source, i, part_stop, class_C, normal, most_digits, ends
                    )
                num_ids = _words(
                    source,
                    i,
                    ends,
                    num_pieces,
                    whole_S3,
                    trie_S3,
                    token_K4,
                    pairs_H2,
                    id_K,
                    seen_J,
                    memory.key_W4,
                    memory.ids_W16,
                    dead,
                    ranks,
                    num_words,
                    ids_T,
                    num_ids,
                )
                num_words += num_pieces
                i = next_start
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
