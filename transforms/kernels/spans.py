"""Spans of text as hashes: lines and paragraphs by their words, and every window of so many bytes that may be repeated.

Which windows may be repeated is found by winnowing: each window is marked by its anchor, the smallest hash of the
pieces of half its length in it, so equal windows have equal anchors, and one piece in `length` / 4 is an anchor.
Schleimer, Wilkerson and Aiken, "Winnowing: local algorithms for document fingerprinting", 2003.

Shapes: N documents, M bytes, S spans, A anchors, R anchors that are repeated, P windows of the longest document, D the
pieces of a window, C code points.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part
from transforms.kernels.words import scan_words

_LINE_FEED = 0x0A
_BLOCK = 1024
_BASE = np.uint64(0xD1342543DE82EF95)
_OTHER_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_STEP = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(32)
_ZERO = np.int64(0)

# Windows are told apart by three polynomials modulo primes below 2**32. One modulo 2**64 would do for prose, but not
# for Thue-Morse sequences, which collide there whatever the base.
_PRIMES = (np.uint64(4294967291), np.uint64(4294967279), np.uint64(4294967231))
_BASES = (np.uint64(2654435761), np.uint64(2246822519), np.uint64(3266489917))


@part
def _mixed(value: np.uint64) -> np.uint64:
    """The finalizer of MurmurHash3: equal inputs only give equal outputs, and the upper bits choose partitions."""
    value = (value ^ (value >> np.uint64(33))) * _MIX
    value = (value ^ (value >> np.uint64(33))) * _STEP
    return value ^ (value >> np.uint64(33))


@kernel
def line_keys(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    table_C: NDArray[np.uint32],
    paragraphs: bool,
    min_words: int,
    key_S: NDArray[np.uint64],
    check_S: NDArray[np.uint32],
    start_S: NDArray[np.uint32],
    stop_S: NDArray[np.uint32],
    row_S: NDArray[np.uint32],
) -> int:
    """Write two hashes of the lower-cased words of every line (or paragraph) that has at least `min_words`.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8.
        table_C: uint32 [0x110000], see `word_table`.
        paragraphs: whether a span ends at an empty line instead of at every line feed.
        min_words: at least 1, so that lines of punctuation and empty ones are no spans.
        key_S: uint64, output; N and the number of line feeds together are always enough entries.
        check_S: uint32, output: of another polynomial, so that equal (key, check) are equal words up to 2**-96.
        start_S: uint32, output: first byte of the span in its document.
        stop_S: uint32, output: behind its last byte and the line feeds that end it (one, or two of a paragraph).
        row_S: uint32, output: the document.

    Returns:
        Number of spans, in the order of the text. The cost is that of the word scan.
    """
    word_W = np.empty(_BLOCK, np.uint64)
    count = int(_ZERO)
    for n in range(len(offsets_N1) - 1):
        first, end = int(_ZERO + offsets_N1[n]), int(_ZERO + offsets_N1[n + 1])
        start = first
        while start < end:
            stop, after = _line_end(bytes_M, start, end, paragraphs)
            key, check, num_words = np.uint64(0), np.uint64(0), int(_ZERO)
            position = start
            while position < stop:
                position, filled = scan_words(bytes_M, position, stop, table_C, word_W, int(_ZERO))
                num_words += filled
                for w in range(filled):
                    key = key * _BASE + word_W[w]
                    check = check * _OTHER_BASE + word_W[w]
            if num_words >= min_words:
                key_S[count] = _mixed(key)
                check_S[count] = np.uint32(_mixed(check) >> _HALF)
                start_S[count], stop_S[count] = np.uint32(start - first), np.uint32(after - first)
                row_S[count] = np.uint32(n)
                count += 1
            start = after
    return count


@part
def _line_end(bytes_M: NDArray[np.uint8], start: int, end: int, paragraphs: bool) -> tuple[int, int]:
    """Return where the line (or paragraph) ends, and where the next one begins."""
    stop = start
    while stop < end:
        if bytes_M[stop] == _LINE_FEED:
            if not paragraphs:
                return stop, stop + 1
            if stop + 1 < end and bytes_M[stop + 1] == _LINE_FEED:
                return stop, stop + 2
        stop += 1
    return stop, stop


@part
def _ring(length: int) -> int:
    """Return a power of two of at least `length`: a remainder by another number would take half of the time."""
    size = 1
    while size < length:
        size *= 2
    return size


@part
def _window_anchors(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    length: int,
    hash_D: NDArray[np.uint64],
    at_D: NDArray[np.int64],
    anchor_P: NDArray[np.uint32],
    hash_P: NDArray[np.uint64],
) -> int:
    """Write the anchor of every window of a document, and return how many windows there are.

    The ring of ascending candidates is that of a sliding minimum. Of equal hashes the last one is the anchor, so that
    no two equal windows share theirs, even where they overlap.
    """
    size = length // 2
    num_pieces = length - size + 1  # of a window
    num_windows = stop - start - length + 1
    if num_windows <= 0:
        return int(_ZERO)
    top = np.uint64(1)
    for _ in range(size):
        top *= _BASE
    state = np.uint64(0)
    for i in range(start, start + size - 1):
        state = state * _BASE + np.uint64(bytes_M[i]) + np.uint64(1)
    front, back = _ZERO, _ZERO  # the ring is from front to back; its length is a power of two
    mask = len(hash_D) - 1
    for piece in range(stop - start - size + 1):
        last = start + piece + size - 1
        state = state * _BASE + np.uint64(bytes_M[last]) + np.uint64(1)
        if piece > 0:
            state -= (np.uint64(bytes_M[start + piece - 1]) + np.uint64(1)) * top
        value = _mixed(state)
        while back > front and hash_D[(back - 1) & mask] >= value:
            back -= 1
        if back > front and at_D[front & mask] <= piece - num_pieces:
            front += 1
        hash_D[back & mask], at_D[back & mask] = value, piece
        back += 1
        window = piece - num_pieces + 1
        if window >= 0:
            anchor_P[window], hash_P[window] = np.uint32(at_D[front & mask]), hash_D[front & mask]
    return num_windows


@kernel
def anchors(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    length: int,
    anchor_P: NDArray[np.uint32],
    hash_P: NDArray[np.uint64],
    key_A: NDArray[np.uint64],
    start_A: NDArray[np.uint32],
    row_A: NDArray[np.uint32],
) -> int:
    """Write the anchors of every document, each once.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8.
        length: bytes of a window, at least 2; shorter documents have none.
        anchor_P: uint32, scratch, as long as the longest document.
        hash_P: uint64, scratch, as long.
        key_A: uint64, output: the hash of the anchor; as long as there are bytes is always enough.
        start_A: uint32, output: its first byte in the document.
        row_A: uint32, output: the document.

    Returns:
        Number of anchors, in the order of the text.
    """
    size = _ring(length)
    hash_D, at_D = np.empty(size, np.uint64), np.empty(size, np.int64)
    count = int(_ZERO)
    for n in range(len(offsets_N1) - 1):
        start, stop = int(_ZERO + offsets_N1[n]), int(_ZERO + offsets_N1[n + 1])
        num_windows = _window_anchors(bytes_M, start, stop, length, hash_D, at_D, anchor_P, hash_P)
        for p in range(num_windows):
            if p == 0 or anchor_P[p] != anchor_P[p - 1]:
                key_A[count], start_A[count], row_A[count] = hash_P[p], anchor_P[p], np.uint32(n)
                count += 1
    return count


@kernel
def windows(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    length: int,
    repeated_R: NDArray[np.uint64],
    anchor_P: NDArray[np.uint32],
    hash_P: NDArray[np.uint64],
    key_S: NDArray[np.uint64],
    check_S: NDArray[np.uint32],
    start_S: NDArray[np.uint32],
    row_S: NDArray[np.uint32],
) -> int:
    """Write the hashes of every window whose anchor is repeated somewhere.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8.
        length: bytes of a window.
        repeated_R: uint64, ascending: document << 32 | first byte of an anchor.
        anchor_P: uint32, scratch, as long as the longest document.
        hash_P: uint64, scratch, as long.
        key_S: uint64, output; as long as there are bytes is always enough.
        check_S: uint32, output: of another polynomial, so that equal (key, check) are equal bytes up to 2**-96.
        start_S: uint32, output: first byte of the window in its document.
        row_S: uint32, output: the document.

    Returns:
        Number of windows, in the order of the text. Documents without a repeated anchor cost nothing.
    """
    size = _ring(length)
    hash_D, at_D = np.empty(size, np.uint64), np.empty(size, np.int64)
    top = np.ones(3, np.uint64)
    for k in range(3):
        for _ in range(length):
            top[k] = top[k] * _BASES[k] % _PRIMES[k]
    count, r = int(_ZERO), int(_ZERO)
    for n in range(len(offsets_N1) - 1):
        if r == len(repeated_R) or np.int64(repeated_R[r] >> _HALF) != n:
            continue
        start, stop = int(_ZERO + offsets_N1[n]), int(_ZERO + offsets_N1[n + 1])
        num_windows = _window_anchors(bytes_M, start, stop, length, hash_D, at_D, anchor_P, hash_P)
        a, b, c = np.uint64(0), np.uint64(0), np.uint64(0)
        for i in range(start, start + length - 1):
            byte = np.uint64(bytes_M[i])
            a = (a * _BASES[0] + byte) % _PRIMES[0]
            b = (b * _BASES[1] + byte) % _PRIMES[1]
            c = (c * _BASES[2] + byte) % _PRIMES[2]
        for p in range(num_windows):
            byte = np.uint64(bytes_M[start + p + length - 1])
            gone = np.uint64(bytes_M[start + p - 1]) if p > 0 else np.uint64(0)
            a = (a * _BASES[0] + byte + _PRIMES[0] - gone * top[0] % _PRIMES[0]) % _PRIMES[0]
            b = (b * _BASES[1] + byte + _PRIMES[1] - gone * top[1] % _PRIMES[1]) % _PRIMES[1]
            c = (c * _BASES[2] + byte + _PRIMES[2] - gone * top[2] % _PRIMES[2]) % _PRIMES[2]
            here = np.uint64(n) << _HALF | np.uint64(anchor_P[p])
            while r < len(repeated_R) and repeated_R[r] < here:
                r += 1
            if r < len(repeated_R) and repeated_R[r] == here:
                key_S[count], check_S[count] = _mixed(a << _HALF | b), np.uint32(c)
                start_S[count], row_S[count] = np.uint32(p), np.uint32(n)
                count += 1
        while r < len(repeated_R) and np.int64(repeated_R[r] >> _HALF) == n:
            r += 1
    return count


@kernel
def first_of_equal(
    offsets_B1: NDArray[np.int64], check_M: NDArray[np.uint32], keep: int, first_M: NDArray[np.int64]
) -> None:
    """Tell for every member of buckets of equal keys what it repeats.

    Args:
        offsets_B1: int64, bucket b is the rows from `offsets_B1[b]` to `offsets_B1[b + 1]`, in the order of the text.
        check_M: uint32; members whose check is not that of the bucket's first are never repeats: a chance of 2**-64
            may leave a repetition, but cuts nothing that is none.
        keep: how many members of a bucket stay.
        first_M: int64, output: the row of the first member, of the second one for the first itself; -1 = it stays.
    """
    for b in range(len(offsets_B1) - 1):
        first, end = offsets_B1[b], offsets_B1[b + 1]
        num_equal, second = int(_ZERO), int(_ZERO - 1)
        for m in range(first, end):
            first_M[m] = -1
            if check_M[m] == check_M[first]:
                num_equal += 1
                if num_equal == 2:
                    second = int(m)
                if num_equal > keep:
                    first_M[m] = first
        if first_M[first] == first:
            first_M[first] = second


@kernel
def cut_spans(
    offsets_N1: NDArray[np.int32],
    bytes_M: NDArray[np.uint8],
    row_S: NDArray[np.int64],
    start_S: NDArray[np.uint32],
    stop_S: NDArray[np.uint32],
    out_offsets_N1: NDArray[np.int32],
    out_M: NDArray[np.uint8],
) -> None:
    """Copy the documents without the given spans.

    Args:
        offsets_N1: int32, document i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`.
        bytes_M: uint8.
        row_S: int64, the document of each span; ascending.
        start_S: uint32, its first byte in the document; ascending within a document. Spans may overlap.
        stop_S: uint32, behind its last byte.
        out_offsets_N1: int32, output.
        out_M: uint8, output; as long as the documents is enough.
    """
    s, end = int(_ZERO), int(_ZERO)
    out_offsets_N1[0] = 0
    for n in range(len(offsets_N1) - 1):
        first, stop = int(_ZERO + offsets_N1[n]), int(_ZERO + offsets_N1[n + 1])
        position = first
        while s < len(row_S) and row_S[s] == n:
            start = int(first + start_S[s])
            if start > position:
                out_M[end : end + start - position] = bytes_M[position:start]
                end += start - position
            position = max(position, int(first + stop_S[s]))
            s += 1
        out_M[end : end + stop - position] = bytes_M[position:stop]
        end += stop - position
        out_offsets_N1[n + 1] = end
