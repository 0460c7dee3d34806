"""WordPiece: from the bytes of texts to token ids in one pass, with the vocabulary as a trie.

Shapes: N documents, M bytes, V vocabulary entries, S slots of the trie, T tokens, C code points.

A text is read character by character through `action_C`, which says what the tokenizer's normaliser and pre-tokeniser
do with a code point: the kind of action in the bits from 28 up and its argument below.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part
from transforms.kernels.trie import CONTINUE, START
from transforms.kernels.utf8 import code_point

WORD = 0  # part of a word; argument: its symbol, 0 if no entry of the vocabulary has it
SPACE = 1  # ends a word
REMOVED = 2  # as if it were not there
ISOLATED = 3  # ends a word and is one by itself; argument: its token id
EXPANDED = 4  # several symbols of a word; argument: where `expansion` has their number, followed by them
FOREIGN = 5  # depends on its neighbours: the document is left to the caller
UNKNOWN = 6  # the caller has to find out first
KIND_SHIFT = 28

# numba tests signed indices for negative ones: 131 instead of 118 MB/s in French, 335 instead of 298 in Chinese.
_U = np.uint64


@part
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
            next_slot = trie_S3[_U(slot), 0] + symbols[i]
            if trie_S3[_U(next_slot), 1] != slot:
                break
            slot = next_slot
            if trie_S3[_U(slot), 2] >= 0:
                best = trie_S3[_U(slot), 2]
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
    once and its symbols are at most `max_symbols` steps through the trie for each token: 3 to 8 ns a byte, no
    allocation. There is no memory of words: one of 32 MB in front of the trie had given 46 to 104 MB/s, the trie alone
    gives 130 to 340.

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
        i, stop = int(offsets_N1[document]), int(offsets_N1[document + 1])
        while i <= stop:
            kind, argument = SPACE, 0  # at the end of the text
            if i < stop:
                code, width = code_point(bytes_M, i, stop)
                i += width
                action = action_C[_U(code)]
                kind = action >> KIND_SHIFT
                argument = action & ((1 << KIND_SHIFT) - 1)
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
                    return document, first_id, code
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
