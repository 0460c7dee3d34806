"""Pre-tokenisation: the pieces that the patterns of byte-level tokenizers cut a text into.

A character is of one of four classes, which the caller asks of the tokenizer. What follows a piece does not depend on
what was before it, so pieces are found some at a time. Shapes: M bytes, C code points.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.utf8 import code_point

LETTER, NUMBER, SPACE, OTHER = 0, 1, 2, 3
UNKNOWN = 4  # the caller has to find out first
CHANGES = 8  # added to a class: the normaliser may change the character, or what stands before it
MARK = 16  # added to OTHER: it may, but only where a character with CHANGES or MARK stands before it

_U = np.uint64
_APOSTROPHE = 0x27
_BLANK = 0x20
_NEWLINE, _RETURN = 0x0A, 0x0D
_LONG_S = 0x17F  # folds to s


@part
def _stays(bytes_M: NDArray[np.uint8], start: int, position: int, class_C: NDArray[np.uint8]) -> bool:
    """Return whether the character at `position`, CHANGES or MARK, is one that stays as it is.

    A mark before `start` would be in the piece of this one, and so not before it.
    """
    if class_C[_U(code_point(bytes_M, position, len(bytes_M))[0])] & CHANGES:
        return False
    before = position - 1
    while before > start and bytes_M[_U(before)] & 0xC0 == 0x80:
        before -= 1
    return before < start or class_C[_U(code_point(bytes_M, before, position)[0])] <= UNKNOWN


@part
def gpt2_pieces(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    class_C: NDArray[np.uint8],
    normal: bool,
    ends: NDArray[np.int32],
) -> tuple[int, int, int]:
    r"""Write the ends of the pieces that GPT-2's pattern makes of bytes_M[start:stop]; return how many.

    The pattern: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. One pass: a change of
    class ends a piece, but white space leaves its last character to the next piece, which takes it if it is a blank.

    The second number returned is the last end: `stop`, unless `ends` is full. What follows a piece does not depend on
    what was before it. The third one is -1, or a code point that is UNKNOWN or may change, at which the pass ended.
    """
    num_pieces = 0
    limit = len(ends) - 3
    piece_start = start
    last = start  # start of the last character
    kind = -1
    i = start
    while i < stop and num_pieces < limit:
        if kind >= 0 and kind != SPACE:
            while i < stop and class_C[_U(bytes_M[_U(i)])] == kind and bytes_M[_U(i)] < 0x80:
                i += 1
            if i == stop:
                break
        code, width = code_point(bytes_M, i, stop)
        following = class_C[_U(code)]
        if following >= UNKNOWN:
            if following == UNKNOWN or not (normal or _stays(bytes_M, start, i, class_C)):
                return num_pieces, piece_start, code
            following &= 7
        if following != kind:
            if kind == SPACE:
                if last > piece_start:
                    ends[num_pieces] = last
                    num_pieces += 1
                    piece_start = last
                if bytes_M[_U(last)] != _BLANK:
                    ends[num_pieces] = i
                    num_pieces += 1
                    piece_start = i
            elif kind >= 0:
                ends[num_pieces] = i
                num_pieces += 1
                piece_start = i
            kind = int(following)
            if code == _APOSTROPHE and piece_start == i and i + 1 < stop:
                second = bytes_M[_U(i + 1)]
                third = bytes_M[_U(i + 2)] if i + 2 < stop else 0
                if second == 0x73 or second == 0x74 or second == 0x6D or second == 0x64:  # noqa: PLR1714 - s, t, m, d
                    width = 2
                elif (third == 0x65 and (second == 0x72 or second == 0x76)) or (third == 0x6C and second == 0x6C):  # noqa: PLR1714
                    width = 3
                if width > 1:
                    ends[num_pieces] = i + width
                    num_pieces += 1
                    piece_start = i + width
                    kind = -1
        last = i
        i += width
    if i == stop and piece_start < stop:
        ends[num_pieces] = stop
        num_pieces += 1
        piece_start = stop
    return num_pieces, piece_start, -1


@part
def tiktoken_pieces(
    bytes_M: NDArray[np.uint8],
    start: int,
    stop: int,
    class_C: NDArray[np.uint8],
    normal: bool,
    most_digits: int,
    ends: NDArray[np.int32],
) -> tuple[int, int, int]:
    r"""Write the ends of the pieces that the pattern of GPT-4, Llama 3 and Qwen makes of bytes_M[start:stop].

    The pattern: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,most_digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
    \s*[\r\n]+|\s+(?!\S)|\s+`. A state for what the piece is so far; each character is read once, but for white space
    that the next piece begins with.

    Returns as `gpt2_pieces`.
    """
    num_pieces = 0
    limit = len(ends) - 1
    piece_start = start
    while piece_start < stop and num_pieces < limit:
        i = piece_start
        kind = -1  # of the piece: LETTER, NUMBER, OTHER, SPACE
        first = -1  # its first character
        count = 0
        last = i  # start of the last white space
        line_end = -1  # behind the last line end in the white space
        end = -1
        while i < stop:
            code, width = code_point(bytes_M, i, stop)
            found = class_C[_U(code)]
            if found >= UNKNOWN:
                if found == UNKNOWN or not (normal or _stays(bytes_M, start, i, class_C)):
                    return num_pieces, piece_start, code
                found &= 7
            is_line_end = code == _NEWLINE or code == _RETURN  # noqa: PLR1714 - `in` makes a tuple
            if count == 0:
                kind = int(found)
                first = code
                if code == _APOSTROPHE:
                    end = _contraction(bytes_M, i, stop)
                    if end >= 0:
                        break
            elif count == 1 and kind != NUMBER and found == LETTER and line_end < 0:
                kind = LETTER
            elif count == 1 and first == _BLANK and found == OTHER:
                kind = OTHER
            elif kind == OTHER and is_line_end:
                i += width
                while i < stop and (bytes_M[_U(i)] == _NEWLINE or bytes_M[_U(i)] == _RETURN):
                    i += 1
                end = i
                break
            elif found != kind or (kind == NUMBER and count == most_digits):
                end = i
                if kind == SPACE and (line_end >= 0 or count > 1):
                    end = line_end if line_end >= 0 else last
                break
            if kind == SPACE:
                last = i
                if is_line_end:
                    line_end = i + width
            count += 1
            i += width
        if end < 0:  # the end of the text
            end = line_end if kind == SPACE and line_end >= 0 else stop
        ends[_U(num_pieces)] = end
        num_pieces += 1
        piece_start = end
    return num_pieces, piece_start, -1


@part
def _contraction(bytes_M: NDArray[np.uint8], position: int, stop: int) -> int:
    """Return the end of a contraction that begins with the apostrophe at `position`, in any case, or -1."""
    if position + 1 >= stop:
        return -1
    second, width = code_point(bytes_M, position + 1, stop)
    folded = second | 0x20
    if folded == 0x73 or folded == 0x74 or folded == 0x6D or folded == 0x64 or second == _LONG_S:  # noqa: PLR1714
        return position + 1 + width
    if position + 2 < stop:
        third = int(bytes_M[position + 2]) | 0x20
        if (third == 0x65 and (folded == 0x72 or folded == 0x76)) or (third == 0x6C and folded == 0x6C):  # noqa: PLR1714
            return position + 3
    return -1
