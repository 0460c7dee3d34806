"""Learning the merges of BPE from words and their counts.

Shapes: M symbols, W words, Q pairs, S slots of a hash table, J places of the queue, E nodes, R merges, V tokens,
A bytes of all tokens.

Where a pair stands is a chain of nodes, one for each word that has it. A chain is in the queue, or collects what the
merge at hand makes; nodes of a chain that is done are used again.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import allocating_part, kernel, part
from transforms.kernels.merge_queue import pop, rise
from transforms.kernels.word_table import FULL, enter, place

END = -1  # of a chain

NUM_PAIRS, NUM_NODES, FREE_NODE, NUM_TOUCHED = 0, 1, 2, 3  # in `used`; free nodes are a chain, too

_U = np.uint64


@allocating_part
def _longer(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of twice the length, the new half empty."""
    longer = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


@part
def _prefixed(bytes_A: NDArray[np.uint8], token_V1: NDArray[np.int64], token: int, prefix_P: NDArray[np.uint8]) -> int:
    """Return how many bytes of a token are the prefix: all of them or none."""
    start = token_V1[token]
    if token_V1[token + 1] - start < len(prefix_P):
        return 0
    for k in range(len(prefix_P)):
        if bytes_A[start + k] != prefix_P[k]:
            return 0
    return len(prefix_P)


@part
def _slot(pair: int, slots_S: NDArray[np.int32], pair_Q: NDArray[np.int64]) -> int:
    """Return the slot of a pair, or the free one that it is to take; a slot is the number of a pair, -1 if free."""
    mixed = (_U(pair) ^ (_U(pair) >> _U(29))) * _U(0x9E3779B97F4A7C15)
    mask = _U(len(slots_S) - 1)
    slot = (mixed >> _U(32)) & mask
    while slots_S[slot] >= 0 and pair_Q[_U(slots_S[slot])] != pair:
        slot = (slot + _U(1)) & mask
    return int(slot)


@part
def _place_pairs(pair_Q: NDArray[np.int64], num_pairs: int, slots_S: NDArray[np.int32]) -> None:
    """Enter all pairs into empty slots."""
    for q in range(num_pairs):
        slots_S[_slot(pair_Q[q], slots_S, pair_Q)] = q


@part
def _count(
    pair: int,
    w: int,
    count: int,
    turn: int,
    pair_Q: NDArray[np.int64],
    count_Q: NDArray[np.int64],
    chain_Q2: NDArray[np.int32],
    slots_S: NDArray[np.int32],
    node_E2: NDArray[np.int32],
    touched_Q: NDArray[np.int32],
    used: NDArray[np.int64],
) -> None:
    """Count a pair that is new in word w, and note that it stands there."""
    slot = _slot(pair, slots_S, pair_Q)
    q = int(slots_S[_U(slot)])
    if q < 0:
        q = int(used[NUM_PAIRS])
        used[NUM_PAIRS] += 1
        slots_S[_U(slot)] = q
        pair_Q[_U(q)] = pair
        count_Q[_U(q)] = 0
        chain_Q2[_U(q), 1] = -1
    count_Q[_U(q)] += count
    if chain_Q2[_U(q), 1] != turn:
        chain_Q2[_U(q), 0], chain_Q2[_U(q), 1] = END, turn
        touched_Q[_U(used[NUM_TOUCHED])] = q
        used[NUM_TOUCHED] += 1
    head = int(chain_Q2[_U(q), 0])
    if head != END and node_E2[_U(head), 0] == w:
        return
    node = int(used[FREE_NODE])
    if node != END:
        used[FREE_NODE] = node_E2[_U(node), 1]
    else:
        node = int(used[NUM_NODES])
        used[NUM_NODES] += 1
    node_E2[_U(node), 0], node_E2[_U(node), 1] = w, head
    chain_Q2[_U(q), 0] = node


@part
def _has_room(
    num_symbols: int,
    pair_Q: NDArray[np.int64],
    node_E2: NDArray[np.int32],
    used: NDArray[np.int64],
) -> bool:
    """Return whether what a word of so many symbols may add has room in all arrays."""
    return used[NUM_PAIRS] + num_symbols <= len(pair_Q) and used[NUM_NODES] + num_symbols <= len(node_E2)


@part
def _count_all(
    symbols_M: NDArray[np.int32],
    offset_W1: NDArray[np.int64],
    count_W: NDArray[np.int64],
    w: int,
    pair_Q: NDArray[np.int64],
    count_Q: NDArray[np.int64],
    chain_Q2: NDArray[np.int32],
    slots_S: NDArray[np.int32],
    node_E2: NDArray[np.int32],
    touched_Q: NDArray[np.int32],
    used: NDArray[np.int64],
) -> int:
    """Count the pairs of words from w on; return the word to go on with when there is more room, W at the end."""
    while w < len(count_W):
        start, stop = int(offset_W1[_U(w)]), int(offset_W1[_U(w + 1)])
        if not _has_room(stop - start, pair_Q, node_E2, used):
            return w
        count = count_W[_U(w)]
        for i in range(start + 1, stop):
            pair = int(symbols_M[_U(i - 1)]) << 32 | int(symbols_M[_U(i)])
            _count(pair, w, count, 0, pair_Q, count_Q, chain_Q2, slots_S, node_E2, touched_Q, used)
        w += 1
    return w


@part
def _merge_all(
    left: int,
    right: int,
    merged: int,
    chain: int,
    turn: int,
    symbols_M: NDArray[np.int32],
    offset_W1: NDArray[np.int64],
    length_W: NDArray[np.int32],
    count_W: NDArray[np.int64],
    pair_Q: NDArray[np.int64],
    count_Q: NDArray[np.int64],
    chain_Q2: NDArray[np.int32],
    slots_S: NDArray[np.int32],
    node_E2: NDArray[np.int32],
    touched_Q: NDArray[np.int32],
    used: NDArray[np.int64],
) -> int:
    """Merge a pair in the words of a chain; return the chain to go on with when there is more room, END at the end."""
    while chain != END:
        w = int(node_E2[_U(chain), 0])
        num_symbols = int(length_W[_U(w)])
        if not _has_room(num_symbols, pair_Q, node_E2, used):
            return chain
        following = int(node_E2[_U(chain), 1])
        node_E2[_U(chain), 1] = used[FREE_NODE]
        used[FREE_NODE] = chain
        chain = following
        start = int(offset_W1[_U(w)])
        stop = start + num_symbols
        count = count_W[_U(w)]
        read = start
        while read < stop - 1 and (symbols_M[_U(read)] != left or symbols_M[_U(read + 1)] != right):
            read += 1
        if read >= stop - 1:
            continue  # another merge took it
        written = read
        while read < stop:
            symbol = symbols_M[_U(read)]
            if symbol != left or read + 1 == stop or symbols_M[_U(read + 1)] != right:
                symbols_M[_U(written)] = symbol
                written += 1
                read += 1
                continue
            if written > start:
                before = int(symbols_M[_U(written - 1)]) << 32
                count_Q[_U(slots_S[_U(_slot(before | left, slots_S, pair_Q))])] -= count
                _count(before | merged, w, count, turn, pair_Q, count_Q, chain_Q2, slots_S, node_E2, touched_Q, used)
            if read + 2 < stop:
                after = int(symbols_M[_U(read + 2)])
                count_Q[_U(slots_S[_U(_slot(right << 32 | after, slots_S, pair_Q))])] -= count
                pair = merged << 32 | after
                _count(pair, w, count, turn, pair_Q, count_Q, chain_Q2, slots_S, node_E2, touched_Q, used)
            symbols_M[_U(written)] = merged
            written += 1
            read += 2
        length_W[_U(w)] = written - start
    return END


@part
def _queue(
    turn: int,
    num_queued: int,
    count_J: NDArray[np.int64],
    entry_J3: NDArray[np.int32],
    pair_Q: NDArray[np.int64],
    count_Q: NDArray[np.int64],
    chain_Q2: NDArray[np.int32],
    node_E2: NDArray[np.int32],
    touched_Q: NDArray[np.int32],
    used: NDArray[np.int64],
) -> int:
    """Queue the pairs whose chains collected, if any are left of them; return the number of entries."""
    for t in range(used[NUM_TOUCHED]):
        q = touched_Q[t]
        head = int(chain_Q2[q, 0])
        if count_Q[q] > 0:
            count_J[num_queued] = count_Q[q]
            entry_J3[num_queued, 0], entry_J3[num_queued, 1], entry_J3[num_queued, 2] = q, head, turn
            rise(num_queued, count_J, entry_J3, pair_Q)
            num_queued += 1
        else:
            while head != END:
                following = int(node_E2[head, 1])
                node_E2[head, 1] = used[FREE_NODE]
                used[FREE_NODE] = head
                head = following
    return num_queued


@kernel
def learn_merges(
    symbols_M: NDArray[np.int32],
    offset_W1: NDArray[np.int64],
    count_W: NDArray[np.int64],
    bytes_A: NDArray[np.uint8],
    token_V1: NDArray[np.int64],
    num_tokens: int,
    prefix_P: NDArray[np.uint8],
    min_count: int,
) -> NDArray[np.int32]:
    """Learn merges until there are V tokens, or no pair is left; return int32 [R, 3], both parts and what they become.

    The most frequent pair of neighbours becomes a token, of equally frequent ones the one of the smaller ids, and the
    counts of its neighbours change with it (Sennrich et al. 2016, section 3.2, and the counting of their
    `learn_bpe.py`). It merges what `BpeTrainer` of `tokenizers` 0.23 does, with its habits: two pairs that spell the
    same token give one id, and a pair that comes back after it was merged is merged again, as a pair of its former
    count and the new one. Cost: 0.1 to 0.2 us a symbol for 30,000 merges, most of it for the first hundred, which are
    looked for in nearly all words.

    Args:
        symbols_M: int32 [M], ids of the words' symbols; overwritten.
        offset_W1: int64 [W + 1], word w is `symbols_M[offset_W1[w]:offset_W1[w + 1]]`.
        count_W: int64 [W].
        bytes_A: uint8, the first tokens as text, one after the other.
        token_V1: int64 [V + 1], where each begins; written. V is the number of tokens wanted.
        num_tokens: how many there are.
        prefix_P: uint8, with what a token begins that goes on with a word; goes where it is merged to one before it.
        min_count: of a pair that is merged.

    Allocates 8 bytes for each word that a pair stands in, 32 a pair, and 20 a chain in the queue, up to twice as much.
    """
    num_words, num_wanted = len(count_W), len(token_V1) - 1
    slots_V = np.zeros(64, np.uint64)
    while len(slots_V) < 2 * num_wanted:
        slots_V = np.zeros(2 * len(slots_V), np.uint64)
    place(bytes_A, token_V1, num_tokens, slots_V)
    spelled = np.empty(1024, np.uint8)
    length_W = np.empty(num_words, np.int32)
    for w in range(num_words):
        length_W[w] = offset_W1[w + 1] - offset_W1[w]

    pair_Q, count_Q = np.empty(1 << 12, np.int64), np.empty(1 << 12, np.int64)
    chain_Q2 = np.empty((1 << 12, 2), np.int32)  # the chain that collects, and the merge that it was last used for
    touched_Q = np.empty(1 << 12, np.int32)  # pairs whose chain collects
    slots_S = np.full(1 << 13, -1, np.int32)
    node_E2 = np.empty((1 << 12, 2), np.int32)  # a word, and the next node of the chain
    used = np.zeros(4, np.int64)
    used[FREE_NODE] = END
    count_J, entry_J3 = np.empty(1 << 12, np.int64), np.empty((1 << 12, 3), np.int32)  # pair, chain, merge it came from
    num_queued = 0
    merge_R3 = np.empty((1 << 12, 3), np.int32)
    num_merges = 0

    left = right = merged = chain = -1
    w = longest = 0
    while True:
        # All pairs are counted, in the first turn, or one is merged, until an array is full.
        used[NUM_TOUCHED] = 0
        while True:
            if num_merges == 0:
                w = _count_all(
                    symbols_M,
                    offset_W1,
                    count_W,
                    w,
                    pair_Q,
                    count_Q,
                    chain_Q2,
                    slots_S,
                    node_E2,
                    touched_Q,
                    used,
                )
                if w == num_words:
                    break
                longest = length_W[w]
            else:
                chain = _merge_all(
                    left,
                    right,
                    merged,
                    chain,
                    num_merges,
                    symbols_M,
                    offset_W1,
                    length_W,
                    count_W,
                    pair_Q,
                    count_Q,
                    chain_Q2,
                    slots_S,
                    node_E2,
                    touched_Q,
                    used,
                )
                if chain == END:
                    break
                longest = length_W[node_E2[chain, 0]]
            while used[NUM_NODES] + longest > len(node_E2):
                node_E2 = _longer(node_E2)
            while used[NUM_PAIRS] + longest > len(pair_Q):
                pair_Q, count_Q = _longer(pair_Q), _longer(count_Q)
                chain_Q2, touched_Q = _longer(chain_Q2), _longer(touched_Q)
                slots_S = np.full(2 * len(slots_S), -1, np.int32)
                _place_pairs(pair_Q, used[NUM_PAIRS], slots_S)

        while num_queued + used[NUM_TOUCHED] > len(count_J):
            count_J, entry_J3 = _longer(count_J), _longer(entry_J3)
        num_queued = _queue(
            num_merges, num_queued, count_J, entry_J3, pair_Q, count_Q, chain_Q2, node_E2, touched_Q, used
        )
        num_queued = pop(num_queued, count_J, entry_J3, pair_Q, count_Q)
        if num_tokens >= num_wanted or num_queued < 0 or count_J[num_queued] < min_count:
            return merge_R3[:num_merges].copy()
        left, right = int(pair_Q[entry_J3[num_queued, 0]] >> 32), int(pair_Q[entry_J3[num_queued, 0]] & 0xFFFFFFFF)
        chain = int(entry_J3[num_queued, 1])

        # What both spell together is a token, maybe one that there is.
        size = token_V1[left + 1] - token_V1[left] + token_V1[right + 1] - token_V1[right]
        if len(spelled) < size:
            spelled = np.empty(2 * size, np.uint8)
        size = 0
        for k in range(token_V1[left], token_V1[left + 1]):
            spelled[size] = bytes_A[k]
            size += 1
        for k in range(token_V1[right] + _prefixed(bytes_A, token_V1, right, prefix_P), token_V1[right + 1]):
            spelled[size] = bytes_A[k]
            size += 1
        merged = enter(spelled, 0, size, bytes_A, token_V1, slots_V, num_tokens)
        while merged == FULL:
            bytes_A = _longer(bytes_A)
            merged = enter(spelled, 0, size, bytes_A, token_V1, slots_V, num_tokens)
        num_tokens = max(num_tokens, merged + 1)
        if num_merges == len(merge_R3):
            merge_R3 = _longer(merge_R3)
        merge_R3[num_merges, 0], merge_R3[num_merges, 1], merge_R3[num_merges, 2] = left, right, merged
        num_merges += 1
