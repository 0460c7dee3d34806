"""Learning the merges of BPE from words and their counts.

Shapes: M symbols, W words, Q pairs, J places of the queue, R merges, V tokens, A bytes of all tokens.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part
from transforms.kernels.merge_queue import pop, rise
from transforms.kernels.pair_counts import (
    END,
    NUM_TOUCHED,
    Pairs,
    Words,
    count_pair,
    count_words,
    discount_pair,
    has_room,
    longer,
    next_free,
    no_pairs,
    num_touched,
    with_room,
)
from transforms.kernels.word_table import FULL, enter, place

_U = np.uint64


@part
def _merge_all(left: int, right: int, merged: int, chain: int, turn: int, words: Words, pairs: Pairs) -> int:
    """Merge a pair in the words of a chain; return the chain to go on with when there is more room, END at the end."""
    while chain != END:
        w = int(pairs.node_E2[_U(chain), 0])
        if not has_room(words.length_W[_U(w)], pairs):
            return chain
        chain = next_free(chain, pairs)
        _merge_in_word(left, right, merged, w, turn, words, pairs)
    return END


@part
def _merge_in_word(left: int, right: int, merged: int, w: int, turn: int, words: Words, pairs: Pairs) -> None:
    """Merge a pair wherever it stands in word w, from the left; another merge may have taken it."""
    symbols_M, count = words.symbols_M, words.count_W[_U(w)]
    start = int(words.offset_W1[_U(w)])
    stop = start + int(words.length_W[_U(w)])
    read = start
    while read < stop - 1 and (symbols_M[_U(read)] != left or symbols_M[_U(read + 1)] != right):
        read += 1
    if read >= stop - 1:
        return
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
            discount_pair(before | left, count, pairs)
            count_pair(before | merged, w, count, turn, pairs)
        if read + 2 < stop:
            after = int(symbols_M[_U(read + 2)])
            discount_pair(right << 32 | after, count, pairs)
            count_pair(merged << 32 | after, w, count, turn, pairs)
        symbols_M[_U(written)] = merged
        written += 1
        read += 2
    words.length_W[_U(w)] = written - start


@part
def _queue(turn: int, num_queued: int, count_J: NDArray[np.int64], entry_J3: NDArray[np.int32], pairs: Pairs) -> int:
    """Queue the pairs whose chains collected, if any are left of them; return the number of entries."""
    for t in range(pairs.used[NUM_TOUCHED]):
        q = pairs.touched_Q[t]
        chain = int(pairs.chain_Q2[q, 0])
        if pairs.count_Q[q] > 0:
            count_J[num_queued] = pairs.count_Q[q]
            entry_J3[num_queued, 0], entry_J3[num_queued, 1], entry_J3[num_queued, 2] = q, chain, turn
            rise(num_queued, count_J, entry_J3, pairs.pair_Q)
            num_queued += 1
        while pairs.count_Q[q] <= 0 and chain != END:
            chain = next_free(chain, pairs)
    pairs.used[NUM_TOUCHED] = 0
    return num_queued


@part
def _copy_token(
    token: int, skipped: int, bytes_A: NDArray[np.uint8], token_V1: NDArray[np.int64], out: NDArray[np.uint8], size: int
) -> int:
    """Write the bytes of a token, but for the first ones, behind the first `size`; return their new number."""
    for k in range(token_V1[token] + skipped, token_V1[token + 1]):
        out[size] = bytes_A[k]
        size += 1
    return size


@part
def _prefixed(token: int, bytes_A: NDArray[np.uint8], token_V1: NDArray[np.int64], prefix_P: NDArray[np.uint8]) -> int:
    """Return how many bytes of a token are the prefix: all of them or none."""
    start = token_V1[token]
    if token_V1[token + 1] - start < len(prefix_P):
        return 0
    for k in range(len(prefix_P)):
        if bytes_A[start + k] != prefix_P[k]:
            return 0
    return len(prefix_P)


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

    Allocates what `Pairs` says and 20 bytes a chain in the queue, up to twice as much.
    """
    num_wanted = len(token_V1) - 1
    slots_V = np.zeros(64, np.uint64)
    while len(slots_V) < 2 * num_wanted:
        slots_V = np.zeros(2 * len(slots_V), np.uint64)
    place(bytes_A, token_V1, num_tokens, slots_V)
    spelled = np.empty(1024, np.uint8)
    count_J, entry_J3 = np.empty(1 << 12, np.int64), np.empty((1 << 12, 3), np.int32)  # pair, chain, merge it came from
    merge_R3 = np.empty((1 << 12, 3), np.int32)
    num_queued = num_merges = 0

    length_W = np.empty(len(count_W), np.int32)
    for w in range(len(count_W)):
        length_W[w] = offset_W1[w + 1] - offset_W1[w]
    words = Words(symbols_M, offset_W1, length_W, count_W)
    pairs = no_pairs()
    w = 0
    while w < len(count_W):
        w = count_words(words, w, pairs)
        if w < len(count_W):
            pairs = with_room(words.length_W[w], pairs)
    while True:
        while num_queued + num_touched(pairs) > len(count_J):
            count_J, entry_J3 = longer(count_J), longer(entry_J3)
        num_queued = _queue(num_merges, num_queued, count_J, entry_J3, pairs)
        num_queued, count, pair, chain = pop(num_queued, count_J, entry_J3, pairs)
        if num_tokens >= num_wanted or num_queued < 0 or count < min_count:
            return merge_R3[:num_merges].copy()
        left, right = pair >> 32, pair & 0xFFFFFFFF

        # What both spell together is a token, maybe one that there is.
        size = token_V1[left + 1] - token_V1[left] + token_V1[right + 1] - token_V1[right]
        if len(spelled) < size:
            spelled = np.empty(2 * size, np.uint8)
        size = _copy_token(left, 0, bytes_A, token_V1, spelled, 0)
        size = _copy_token(right, _prefixed(right, bytes_A, token_V1, prefix_P), bytes_A, token_V1, spelled, size)
        merged = enter(spelled, 0, size, bytes_A, token_V1, slots_V, num_tokens)
        while merged == FULL:
            bytes_A = longer(bytes_A)
            merged = enter(spelled, 0, size, bytes_A, token_V1, slots_V, num_tokens)
        num_tokens = max(num_tokens, merged + 1)
        if num_merges == len(merge_R3):
            merge_R3 = longer(merge_R3)
        merge_R3[num_merges, 0], merge_R3[num_merges, 1], merge_R3[num_merges, 2] = left, right, merged
        num_merges += 1

        while chain != END:
            chain = _merge_all(left, right, merged, chain, num_merges, words, pairs)
            if chain != END:
                pairs = with_room(words.length_W[pairs.node_E2[chain, 0]], pairs)
