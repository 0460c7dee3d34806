"""Counts of the pairs of neighbours in words, and for each the words that it stands in.

Shapes: W words, M symbols of all words, Q pairs, S slots of a hash table, E nodes.

Where a pair stands is a chain of nodes, one for each word that has it. A chain is in the queue, or collects what the
merge at hand makes; nodes of a chain that is done are used again.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import allocating_part, inlined, part

END = -1  # of a chain

NUM_PAIRS, NUM_NODES, FREE_NODE, NUM_TOUCHED = 0, 1, 2, 3  # in `used`; free nodes are a chain, too

_U = np.uint64


class Words(NamedTuple):
    """The symbols of words, which get fewer, and how often each word occurs."""

    symbols_M: NDArray[np.int32]
    offset_W1: NDArray[np.int64]  # where each begins
    length_W: NDArray[np.int32]
    count_W: NDArray[np.int64]


class Pairs(NamedTuple):
    """The pairs that were ever counted. 32 bytes each and 8 a node."""

    pair_Q: NDArray[np.int64]  # left << 32 | right
    count_Q: NDArray[np.int64]
    chain_Q2: NDArray[np.int32]  # the chain that collects, and the merge that it was last used for
    touched_Q: NDArray[np.int32]  # pairs whose chain collects
    slots_S: NDArray[np.int32]  # the number of a pair, -1 if free
    node_E2: NDArray[np.int32]  # a word, and the next node of the chain
    used: NDArray[np.int64]


@allocating_part
def no_pairs() -> Pairs:
    """Return room for the first few thousand."""
    used = np.zeros(4, np.int64)
    used[FREE_NODE] = END
    return Pairs(
        np.empty(1 << 12, np.int64),
        np.empty(1 << 12, np.int64),
        np.empty((1 << 12, 2), np.int32),
        np.empty(1 << 12, np.int32),
        np.full(1 << 13, -1, np.int32),
        np.empty((1 << 12, 2), np.int32),
        used,
    )


@allocating_part
def longer(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of twice the length, the new half empty."""
    twice = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    old, new = array.ravel(), twice.ravel()  # views: a slice that is assigned compiles for 3 s, to tell of wrong shapes
    for k in range(len(old)):
        new[k] = old[k]
    return twice


@part
def has_room(num_symbols: int, pairs: Pairs) -> bool:
    """Return whether what a word of so many symbols may add has room in all arrays."""
    used = pairs.used
    return used[NUM_PAIRS] + num_symbols <= len(pairs.pair_Q) and used[NUM_NODES] + num_symbols <= len(pairs.node_E2)


@allocating_part
def with_room(num_symbols: int, pairs: Pairs) -> Pairs:
    """Return the pairs in arrays that have room for what a word of so many symbols may add."""
    pair_Q, count_Q, chain_Q2, touched_Q, slots_S, node_E2, used = pairs
    while used[NUM_NODES] + num_symbols > len(node_E2):
        node_E2 = longer(node_E2)
    while used[NUM_PAIRS] + num_symbols > len(pair_Q):
        pair_Q, count_Q = longer(pair_Q), longer(count_Q)
        chain_Q2, touched_Q = longer(chain_Q2), longer(touched_Q)
        slots_S = np.full(2 * len(slots_S), -1, np.int32)
        for q in range(used[NUM_PAIRS]):
            slots_S[_slot(pair_Q[q], slots_S, pair_Q)] = q
    return Pairs(pair_Q, count_Q, chain_Q2, touched_Q, slots_S, node_E2, used)


@part
def num_touched(pairs: Pairs) -> int:
    """Return how many chains collect."""
    return int(pairs.used[NUM_TOUCHED])


@part
def _slot(pair: int, slots_S: NDArray[np.int32], pair_Q: NDArray[np.int64]) -> int:
    """Return the slot of a pair, or the free one that it is to take."""
    mixed = (_U(pair) ^ (_U(pair) >> _U(29))) * _U(0x9E3779B97F4A7C15)
    mask = _U(len(slots_S) - 1)
    slot = (mixed >> _U(32)) & mask
    while slots_S[slot] >= 0 and pair_Q[_U(slots_S[slot])] != pair:
        slot = (slot + _U(1)) & mask
    return int(slot)


@part
def count_pair(pair: int, w: int, count: int, turn: int, pairs: Pairs) -> None:
    """Count a pair that is new in word w, and note that it stands there."""
    slot = _slot(pair, pairs.slots_S, pairs.pair_Q)
    q = int(pairs.slots_S[_U(slot)])
    if q < 0:
        q = int(pairs.used[NUM_PAIRS])
        pairs.used[NUM_PAIRS] += 1
        pairs.slots_S[_U(slot)] = q
        pairs.pair_Q[_U(q)] = pair
        pairs.count_Q[_U(q)] = 0
        pairs.chain_Q2[_U(q), 1] = -1
    pairs.count_Q[_U(q)] += count
    if pairs.chain_Q2[_U(q), 1] != turn:
        pairs.chain_Q2[_U(q), 0], pairs.chain_Q2[_U(q), 1] = END, turn
        pairs.touched_Q[_U(pairs.used[NUM_TOUCHED])] = q
        pairs.used[NUM_TOUCHED] += 1
    head = int(pairs.chain_Q2[_U(q), 0])
    if head != END and pairs.node_E2[_U(head), 0] == w:
        return
    node = int(pairs.used[FREE_NODE])
    if node != END:
        pairs.used[FREE_NODE] = pairs.node_E2[_U(node), 1]
    else:
        node = int(pairs.used[NUM_NODES])
        pairs.used[NUM_NODES] += 1
    pairs.node_E2[_U(node), 0], pairs.node_E2[_U(node), 1] = w, head
    pairs.chain_Q2[_U(q), 0] = node


@inlined
def discount_pair(pair: int, count: int, pairs: Pairs) -> None:
    """Take back a count of a pair; the word stays in its chain."""
    pairs.count_Q[_U(pairs.slots_S[_U(_slot(pair, pairs.slots_S, pairs.pair_Q))])] -= count


@part
def count_words(words: Words, w: int, pairs: Pairs) -> int:
    """Count the pairs of words from w on; return the word to go on with when there is more room, W at the end."""
    symbols_M = words.symbols_M
    while w < len(words.count_W):
        if not has_room(words.length_W[_U(w)], pairs):
            return w
        count = words.count_W[_U(w)]
        for i in range(words.offset_W1[_U(w)] + 1, words.offset_W1[_U(w + 1)]):
            pair = int(symbols_M[_U(i - 1)]) << 32 | int(symbols_M[_U(i)])
            count_pair(pair, w, count, 0, pairs)
        w += 1
    return w


@part
def next_free(node: int, pairs: Pairs) -> int:
    """Give back a node of a chain that is done; return the next one."""
    following = int(pairs.node_E2[_U(node), 1])
    pairs.node_E2[_U(node), 1] = pairs.used[FREE_NODE]
    pairs.used[FREE_NODE] = node
    return following
