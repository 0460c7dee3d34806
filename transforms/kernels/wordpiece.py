"""WordPiece: from the bytes of texts to token ids in one pass, with the vocabulary as a trie.

Shapes: N documents, M bytes, V vocabulary entries, S slots of the trie, T tokens, C code points.

A text is read character by character through `action_C`, which says what the tokenizer's normaliser and pre-tokeniser
do with a code point: the kind of action in the bits from 28 up and its argument below.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel

WORD = 0  # part of a word; argument: its symbol, 0 if no entry of the vocabulary has it
SPACE = 1  # ends a word
REMOVED = 2  # as if it were not there
ISOLATED = 3  # ends a word and is one by itself; argument: its token id
EXPANDED = 4  # several symbols of a word; argument: where `expansion` has their number, followed by them
FOREIGN = 5  # depends on its neighbours: the document is left to the caller
UNKNOWN = 6  # the caller has to find out first
KIND_SHIFT = 28

START, CONTINUE = 0, 1  # the roots: entries that begin a word, entries that continue one
_ROOT = np.int32(2**31 - 1)  # owner of the roots, so that no step leads to them
_FREE = np.int32(-1)


@kernel
def build_trie(
    symbols_M: NDArray[np.int32],
    offsets_V1: NDArray[np.int32],
    ids_V: NDArray[np.int32],
    num_start: int,
    trie_S3: NDArray[np.int32],
) -> int:
    """Build a double-array trie (Aoe 1989). Returns the number of slots used, or -1 if there are too few.

    The child of slot s by symbol c is slot `trie_S3[s, 0] + c`, if that slot's owner `trie_S3[..., 1]` is s;
    `trie_S3[s, 2]` is the id of the entry that ends in s, or -1. First fit, starting behind the part that is 95% full.

    Args:
        symbols_M: int32, the entries as symbols (1 and up), one after the other, sorted within either half.
        offsets_V1: int32 [V + 1], entry v is `symbols_M[offsets_V1[v]:offsets_V1[v + 1]]`.
        ids_V: int32 [V].
        num_start: that many entries begin a word, the others continue one.
        trie_S3: int32 [S, 3], written. For a step from any slot to stay inside, as many slots as the largest symbol has
            to follow the used ones.
    """
    num_slots = len(trie_S3)
    num_entries = len(ids_V)
    largest = 0
    for i in range(len(symbols_M)):
        largest = max(largest, symbols_M[i])
    trie_S3[:, 0] = 0
    trie_S3[:, 1] = _FREE
    trie_S3[:, 2] = -1
    trie_S3[:2, 1] = _ROOT
    queue = np.empty((num_slots, 4), np.int64)  # slot, its depth, and the range of entries that begin like it
    queue[0] = (START, 0, 0, num_start)
    queue[1] = (CONTINUE, 0, num_start, num_entries)
    head, tail = 0, 2
    child = np.empty(largest + 1, np.int64)
    child_entry = np.empty(largest + 2, np.int64)
    search_from, used = 2, 2
    while head < tail:
        slot, depth, low, high = queue[head]
        head += 1
        while low < high and offsets_V1[low + 1] - offsets_V1[low] == depth:
            trie_S3[slot, 2] = ids_V[low]
            low += 1
        if low == high:
            continue
        num_children = 0
        for entry in range(low, high):
            symbol = symbols_M[offsets_V1[entry] + depth]
            if num_children == 0 or symbol != child[num_children - 1]:
                child[num_children] = symbol
                child_entry[num_children] = entry
                num_children += 1
        child_entry[num_children] = high
        first, num_taken = search_from, 0
        while True:
            if first - child[0] + largest >= num_slots:
                return -1
            fits = first > child[0]
            for i in range(num_children):
                if not fits:
                    break
                fits = trie_S3[first - child[0] + child[i], 1] == _FREE
            if fits:
                break
            num_taken += trie_S3[first, 1] != _FREE
            first += 1
        if num_taken >= 0.95 * (first - search_from + 1):
            search_from = first
        base = first - child[0]
        trie_S3[slot, 0] = base
        for i in range(num_children):
            trie_S3[base + child[i], 1] = slot
            used = max(used, base + child[i] + 1)
            queue[tail] = (base + child[i], depth + 1, child_entry[i], child_entry[i + 1])
            tail += 1
    return used


@kernel
def _word(
    symbols: NDArray[np.int32],
    num_symbols: int,
    trie_S3: NDArray[np.int32],
    unk: int,
    ids_T: NDArray[np.unsignedinteger],
    num_ids: int,
) -> int:
    """Write the ids of one word behind the first `num_ids`; return their new number."""
    first = num_ids
    start = 0
    root = START
    while start < num_symbols:
        slot = root
        best = -1
        best_stop = start
        for i in range(start, num_symbols):
            next_slot = trie_S3[slot, 0] + symbols[i]
            if trie_S3[next_slot, 1] != slot:
                break
            slot = next_slot
            if trie_S3[slot, 2] >= 0:
                best = trie_S3[slot, 2]
                best_stop = i + 1
        if best < 0:
            ids_T[first] = unk
            return first + 1
        ids_T[num_ids] = best
        num_ids += 1
        start = best_stop
        root = CONTINUE
    return num_ids


@kernel
def wordpiece(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    action_C: NDArray[np.int32],
    expansion: NDArray[np.int32],
    trie_S3: NDArray[np.int32],
    unk: int,
    max_symbols: int,
    first_document: int,
    num_ids: int,
    ids_T: NDArray[np.unsignedinteger],
    num_tokens_N: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Encode documents from `first_document` on, until one has a character whose action is UNKNOWN.

    The longest entry of the vocabulary that the rest of a word begins with is taken each time; a word for which there
    is none, or longer than `max_symbols`, is one `unk` (Wu et al. 2016, and BERT's tokenization.py). A word is read
    once and its symbols are at most `max_symbols` steps through the trie for each token: 2 to 12 ns a byte, no
    allocation. There is no memory of words: 16-byte keys in a table of 32 MB gave 46 to 104 MB/s where the trie alone
    gives 120 to 500.

    Args:
        offsets_N1: int32 [N + 1], UTF-8 text of document n is `bytes_M[offsets_N1[n]:offsets_N1[n + 1]]`.
        bytes_M: uint8.
        action_C: int32 [C], C = 0x110000.
        expansion: int32, see EXPANDED.
        trie_S3: int32 [S, 3], see `build_trie`.
        unk: token id.
        max_symbols: as described.
        first_document: where to begin.
        num_ids: ids already in `ids_T`.
        ids_T: uint16 or uint32, written; needs as many places as the documents have bytes.
        num_tokens_N: int32 [N], written; -1 for a document with a FOREIGN character, of which no id is written.

    Returns:
        The document to go on with (N at the end), the number of ids written, and the UNKNOWN code point.
    """
    symbols = np.empty(max_symbols, np.int32)
    for document in range(first_document, len(offsets_N1) - 1):
        first_id = num_ids
        num_symbols = 0
        i = np.int64(offsets_N1[document])
        stop = np.int64(offsets_N1[document + 1])
        while i <= stop:
            kind, argument = SPACE, 0  # at the end of the text
            if i < stop:
                code = np.int64(bytes_M[i])
                if code < 0x80:
                    i += 1
                elif code < 0xE0:
                    code = (code & 0x1F) << 6 | np.int64(bytes_M[i + 1] & 0x3F)
                    i += 2
                elif code < 0xF0:
                    code = (code & 0x0F) << 12 | np.int64(bytes_M[i + 1] & 0x3F) << 6 | np.int64(bytes_M[i + 2] & 0x3F)
                    i += 3
                else:
                    code = (code & 0x07) << 18 | np.int64(bytes_M[i + 1] & 0x3F) << 12
                    code |= np.int64(bytes_M[i + 2] & 0x3F) << 6 | np.int64(bytes_M[i + 3] & 0x3F)
                    i += 4
                kind = action_C[code] >> KIND_SHIFT
                argument = action_C[code] & ((1 << KIND_SHIFT) - 1)
                if kind == WORD:
                    if num_symbols < max_symbols:
                        symbols[num_symbols] = argument
                    num_symbols += 1
                    continue
                if kind == REMOVED:
                    continue
                if kind == EXPANDED:
                    for j in range(argument + 1, argument + 1 + expansion[argument]):
                        if num_symbols < max_symbols:
                            symbols[num_symbols] = expansion[j]
                        num_symbols += 1
                    continue
                if kind == FOREIGN:
                    break
                if kind == UNKNOWN:
                    return document, first_id, int(code)
            else:
                i += 1
            if num_symbols > max_symbols:
                ids_T[num_ids] = unk
                num_ids += 1
            elif num_symbols > 0:
                num_ids = _word(symbols, num_symbols, trie_S3, unk, ids_T, num_ids)
            num_symbols = 0
            if kind == ISOLATED:
                ids_T[num_ids] = argument
                num_ids += 1
        if i <= stop:
            num_ids = first_id
            num_tokens_N[document] = -1
        else:
            num_tokens_N[document] = num_ids - first_id
    return len(offsets_N1) - 1, num_ids, 0
