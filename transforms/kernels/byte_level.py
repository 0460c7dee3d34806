"""Byte-level BPE: from the bytes of texts to token ids in one pass, without a queue of merges.

A token is known here by a rank: 0 to 255 for the bytes, 256 + r for the result of merge r. Merges are tried in that order.

Shapes: N documents, M bytes, K ranks, S slots of a trie, H places of a hash table, T tokens, C code points.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel
from transforms.kernels.trie import START
from transforms.kernels.utf8 import code_point

LETTER, NUMBER, SPACE, OTHER = 0, 1, 2, 3  # the four classes of GPT-2's pattern
UNKNOWN = 4  # the caller has to find out first
CHANGES = 8  # added to a class: the normaliser may change the character, or what stands before it
NO_RANK = 1 << 30

_U = np.uint64
_APOSTROPHE = 0x27
_BLANK = 0x20


@kernel
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


@kernel
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


@kernel
def _longest(bytes_M: NDArray[np.uint8], start: int, stop: int, trie_S3: NDArray[np.int32]) -> int:
    """Return the value of the longest entry of the trie that bytes_M[start:stop] begins with, or -1."""
    slot = START
    best = -1
    for i in range(start, stop):
        child = trie_S3[_U(slot), 0] + bytes_M[_U(i)] + 1
        if trie_S3[_U(child), 1] != slot:
            break
        slot = child
        if trie_S3[_U(slot), 2] >= 0:
            best = trie_S3[_U(slot), 2]
    return int(best)


@kernel
def _stand_together(left: int, right: int, parts_K2: NDArray[np.int32], pairs_H2: NDArray[np.int64]) -> bool:
    """Return whether BPE on the bytes of two tokens gives these two tokens.

    It undoes the merges inside both, last one first, and looks whether a merge across the border would have come before.
    """
    before = NO_RANK  # a merge across the border below this rank would have come first
    while True:
        if _merged(left, right, pairs_H2) < before:
            return False
        if left > right:  # the merge that made `left` was the later one, or there is none any more
            before = left
            left = int(parts_K2[_U(left), 1])
            if left == before:  # a byte, and so is `right`
                return True
        else:  # of merges of the same rank the left one comes first
            if right < 256:
                return True
            before = right + 1
            right = int(parts_K2[_U(right), 0])


@kernel
def _word(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    trie_S3: NDArray[np.int32],
    parts_K2: NDArray[np.int32],
    prefix_K: NDArray[np.int32],
    length_K: NDArray[np.int32],
    pairs_H2: NDArray[np.int64],
    dead: NDArray[np.bool_],
    ranks: NDArray[np.int32],
) -> int:
    """Write the ranks of the tokens of one word into `ranks`; return their number."""
    rank = _longest(bytes_M, start, stop, trie_S3)
    num_ranks = 0
    if start + length_K[_U(rank)] < stop:
        dead[: stop - start + 1] = False
    position = start
    while True:
        # `position` is reached by the one valid way; `rank` is the longest token here not tried yet, or -1.
        while rank >= 0:
            end = position + length_K[_U(rank)]
            if (end == stop or not dead[_U(end - start)]) and (
                num_ranks == 0 or _stand_together(int(ranks[num_ranks - 1]), rank, parts_K2, pairs_H2)
            ):
                break
            rank = int(prefix_K[_U(rank)])
        if rank >= 0:
            ranks[num_ranks] = rank
            num_ranks += 1
            position += length_K[_U(rank)]
            if position == stop:
                return num_ranks
            rank = _longest(bytes_M, position, stop, trie_S3)
        else:
            dead[position - start] = True
            num_ranks -= 1
            rank = int(ranks[num_ranks])
            position -= length_K[_U(rank)]


@kernel
def _class_at(bytes_M: NDArray[np.uint8], i: int, stop: int, class_C: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the class of the character at `i` and its width."""
    code, width = code_point(bytes_M, i, stop)
    return int(class_C[_U(code)]) & 7, width


@kernel
def _end_of_piece(bytes_M: NDArray[np.uint8], i: int, stop: int, class_C: NDArray[np.uint8]) -> int:
    r"""Return the end of the match of GPT-2's pattern that begins at `i`.

    The pattern: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    """
    first = bytes_M[_U(i)]
    if first == _APOSTROPHE and i + 1 < stop:
        second = bytes_M[_U(i + 1)]
        if second == 0x73 or second == 0x74 or second == 0x6D or second == 0x64:  # noqa: PLR1714 - s, t, m, d
            return i + 2
        if i + 2 < stop:
            third = bytes_M[_U(i + 2)]
            if (third == 0x65 and (second == 0x72 or second == 0x76)) or (third == 0x6C and second == 0x6C):  # noqa: PLR1714
                return i + 3
    kind, width = _class_at(bytes_M, i, stop, class_C)
    if first == _BLANK and i + 1 < stop:
        kind, width = _class_at(bytes_M, i + 1, stop, class_C)
        width += 1
        if kind == SPACE:
            width = 1
    last = i
    end = i + width
    while end < stop:
        following, width = _class_at(bytes_M, end, stop, class_C)
        if following != kind:
            # White space leaves its last character to what follows, which takes it if it is a blank.
            return last if kind == SPACE and last > i else end
        last = end
        end += width
    return end


@kernel
def byte_level(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    class_C: NDArray[np.uint8],
    normal: bool,
    prefix_blank: bool,
    added_S3: NDArray[np.int32],
    added_length_A: NDArray[np.int32],
    added_id_A: NDArray[np.int32],
    trie_S3: NDArray[np.int32],
    parts_K2: NDArray[np.int32],
    prefix_K: NDArray[np.int32],
    length_K: NDArray[np.int32],
    pairs_H2: NDArray[np.int64],
    id_K: NDArray[np.int32],
    first_document: int,
    num_ids: int,
    ids_T: NDArray[np.unsignedinteger],
    num_tokens_N: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Encode documents from `first_document` on, until one has a character whose class is UNKNOWN.

    A document is cut at added tokens (leftmost, longest), each part into pieces by GPT-2's pattern, and each piece into
    the tokens that BPE gives: the only sequence in which every two neighbours are what BPE gives for their bytes alone
    (Antwerpen and Neubeck, "So many tokens, so little time", 2024). It is found from the left, the longest token first;
    a position from which nothing leads to the end is never entered again, so the cost grows with the length, also on
    long runs of one character.

    Args:
        offsets_N1: int32 [N + 1], UTF-8 text of document n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        class_C: uint8 [C], C = 0x110000.
        normal: the texts are normalised, CHANGES means nothing.
        prefix_blank: put a blank before each part that does not begin with one.
        added_S3: trie of the bytes of added tokens, leading to their numbers.
        added_length_A: int32 [A], bytes of each.
        added_id_A: int32 [A], -1 for a special token, which is text but hides shorter ones inside.
        trie_S3: trie of the bytes of the tokens, leading to their ranks.
        parts_K2: int32 [K, 2], ranks of the two parts that merge to a token; itself for a byte.
        prefix_K: int32 [K], rank of the longest token that a token begins with, -1 if there is none.
        length_K: int32 [K], bytes of a token.
        pairs_H2: int64 [H, 2], see `pair_slot`: pairs of ranks and the rank they merge to.
        id_K: int32 [K], token ids.
        first_document: where to begin.
        num_ids: ids already in `ids_T`.
        ids_T: uint16 or uint32, written; needs a place for each byte, and with `prefix_blank` two and one a document.
        num_tokens_N: int32 [N], written; -1 for a document that the normaliser may change, of which no id is written.

    Returns:
        The document to go on with (N at the end), the number of ids written, and the UNKNOWN code point.
    """
    longest = 0
    for document in range(first_document, len(offsets_N1) - 1):
        longest = max(longest, int(offsets_N1[document + 1]) - int(offsets_N1[document]))
    dead = np.empty(longest + 2, np.bool_)
    ranks = np.empty(longest + 2, np.int32)
    part = np.empty(longest + 1 if prefix_blank else 0, np.uint8)
    for document in range(first_document, len(offsets_N1) - 1):
        first_id = num_ids
        position, stop = int(offsets_N1[document]), int(offsets_N1[document + 1])
        changes = False
        i = position
        while i < stop:
            code, width = code_point(bytes_M, i, stop)
            i += width
            kind = class_C[_U(code)]
            if kind >= UNKNOWN:
                if kind == UNKNOWN:
                    return document, first_id, code
                changes = not normal
                if changes:
                    break
        if changes:
            num_tokens_N[document] = -1
            continue
        while position < stop:
            number = -1
            end = position  # of the part before the next added token
            while end < stop:
                number = _longest(bytes_M, end, stop, added_S3)
                if number < 0:
                    end += 1
                elif added_id_A[number] < 0:
                    end += added_length_A[number]
                    number = -1
                else:
                    break
            source = bytes_M
            i, part_stop = position, end
            if prefix_blank and i < part_stop and bytes_M[i] != _BLANK:
                part[0] = _BLANK
                part[1 : part_stop - i + 1] = bytes_M[i:part_stop]
                source = part
                i, part_stop = 0, part_stop - i + 1
            while i < part_stop:
                piece_stop = _end_of_piece(source, i, part_stop, class_C)
                num_ranks = _word(
                    source, i, piece_stop, trie_S3, parts_K2, prefix_K, length_K, pairs_H2, dead, ranks
                )
                for r in range(num_ranks):
                    ids_T[num_ids] = id_K[ranks[r]]
                    num_ids += 1
                i = piece_stop
            position = end
            if number >= 0:
                ids_T[num_ids] = added_id_A[number]
                num_ids += 1
                position += added_length_A[number]
        num_tokens_N[document] = num_ids - first_id
    return len(offsets_N1) - 1, num_ids, 0
