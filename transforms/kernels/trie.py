"""A double-array trie over sequences of small numbers: one load and one comparison a step.

Shapes: M symbols, V entries, S slots.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part

START, CONTINUE = 0, 1  # the roots: entries that begin a word, entries that continue one
_ROOT = np.int32(2**31 - 1)  # owner of the roots, so that no step leads to them
_FREE = np.int32(-1)
_U = np.uint64


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
        trie_S3: int32 [S, 3], written.
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


@part
def longest_entry(bytes_M: NDArray[np.uint8], start: int, stop: int, trie_S3: NDArray[np.int32]) -> int:
    """Return the id of the longest entry of a `byte_trie` that bytes_M[start:stop] begins with, or -1."""
    slot = np.int32(START)
    found = -1
    for i in range(start, stop):
        child = trie_S3[_U(slot), 0] + bytes_M[_U(i)] + 1
        if trie_S3[_U(child), 1] != slot:
            break
        slot = child
        if trie_S3[_U(slot), 2] >= 0:
            found = int(trie_S3[_U(slot), 2])
    return found


def trie_of(
    start: list[tuple[list[int], int]], going_on: list[tuple[list[int], int]], *, num_symbols: int
) -> NDArray[np.int32]:
    """Return the trie of two lists of (symbols, id), padded so that a step by 0 to `num_symbols` stays inside it."""
    entries = sorted(start) + sorted(going_on)
    symbols_M = np.array([symbol for symbols, _ in entries for symbol in symbols], np.int32)
    lengths_V = [len(symbols) for symbols, _ in entries]
    return _trie(symbols_M, lengths_V, [number for _, number in entries], len(start), num_symbols)


def byte_trie(entries: list[tuple[bytes, int]]) -> NDArray[np.int32]:
    """Return the trie of (text, id), where the symbol of a byte is the byte plus one."""
    entries = sorted(entries)
    symbols_M = np.frombuffer(b"".join(text for text, _ in entries), np.uint8).astype(np.int32) + 1
    return _trie(symbols_M, [len(text) for text, _ in entries], [number for _, number in entries], len(entries), 256)


def _trie(
    symbols_M: NDArray[np.int32], lengths_V: list[int], ids: list[int], num_start: int, num_symbols: int
) -> NDArray[np.int32]:
    offsets_V1 = np.zeros(len(ids) + 1, np.int32)
    np.cumsum(lengths_V, out=offsets_V1[1:])
    ids_V = np.array(ids, np.int32)
    num_slots = 2 * len(ids) + 256
    while True:
        trie_S3 = np.empty((num_slots, 3), np.int32)
        used = build_trie(symbols_M, offsets_V1, ids_V, num_start, trie_S3)
        if used >= 0:
            padding = np.full((num_symbols + 1, 3), _FREE, np.int32)
            return np.vstack([trie_S3[:used], padding])
        num_slots *= 2
