"""The word scan: UTF-8 bytes to lower-cased words, each as a 64-bit hash.

A word is a maximal run of letters, numbers and marks (Unicode general categories L, N and M). Scripts written without
spaces have no such runs to speak of, so there each character is a word, together with the marks that follow it. Words
are lower-cased by the simple mapping, one code point to one. Everything else separates, invalid UTF-8 included.

Shapes: N documents, M bytes, C code points.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import part
from transforms.kernels.tables import kept

# A change of what a word is, or of its hash, must change this: signatures of different scans do not compare.
WORD_SCAN = "1"

# In this order one comparison says whether a code point goes on with the word before it: after a SOLO only a MARK does,
# after anything else a LETTER too.
SEPARATOR, SOLO, LETTER, MARK = 0, 1, 2, 3
CLASS_SHIFT = 21  # an entry of the table is class << 21 | lower-cased code point
_LOWER = (1 << CLASS_SHIFT) - 1
_ANY, _AFTER_LETTER, _AFTER_SOLO = SOLO << CLASS_SHIFT, LETTER << CLASS_SHIFT, MARK << CLASS_SHIFT
_INVALID = 0xFFFD

# Blocks of scripts that do not put spaces between words. Hangul, Ethiopic and Tibetan mark word or syllable ends.
_SOLO_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x2E80, 0x2FDF),  # CJK radicals
    (0x3005, 0x312F),  # CJK iteration marks and numerals, Hiragana, Katakana, Bopomofo
    (0x3190, 0x31FF),  # Kanbun, Bopomofo and Katakana extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA980, 0xA9FF),  # Javanese, Myanmar extended B
    (0xAA60, 0xAADF),  # Myanmar extended A, Tai Viet
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # Katakana, half width
    (0x1AFF0, 0x1B16F),  # Kana extensions
    (0x20000, 0x3FFFF),  # Han, extensions B and later
)

_U = np.uint64
_BASIS = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)


@cache
def word_table() -> NDArray[np.uint32]:
    """Return uint32 [0x110000]: class and lower-cased code point of every code point, from Python's Unicode database.

    4.4 MB of which a scan touches a few pages. What the database knows depends on the version of Python:
    `unicodedata.unidata_version` belongs beside everything that was made with this table.
    """
    [table_C] = kept(f"words-{unicodedata.unidata_version}", lambda: (_word_table(),))
    return table_C


def _word_table() -> NDArray[np.uint32]:
    size = 0x110000
    classes = {"L": LETTER, "N": LETTER, "M": MARK}
    class_C = np.fromiter(
        (classes.get(unicodedata.category(chr(c))[0], SEPARATOR) for c in range(size)), np.uint32, size
    )
    lower_C = np.arange(size, dtype=np.uint32)
    for code in np.flatnonzero(class_C[:0x20000]).tolist():  # no case beyond the second plane
        lower_C[code] = ord(chr(code).lower()[0])  # only U+0130 lowers to two, the second a mark
    for first, last in _SOLO_BLOCKS:
        block = class_C[first : last + 1]
        block[block == LETTER] = SOLO
    return class_C << np.uint32(CLASS_SHIFT) | lower_C


@part
def scan_words(
    bytes_M: NDArray[np.uint8],
    position: int,
    stop: int,
    table_C: NDArray[np.uint32],
    word_W: NDArray[np.uint64],
    filled: int,
) -> tuple[int, int]:
    """Append the hashes of the words from `position` on to `word_W`, until it is full or the document ends.

    Args:
        bytes_M: uint8; only `position` to `stop` is read.
        position: first byte to look at.
        stop: end of the document.
        table_C: uint32 [0x110000], see `word_table`.
        word_W: uint64, output from index `filled` on.
        filled: words that `word_W` holds already.

    Returns:
        Where the scan goes on (`stop` if there are no more words), and how many words `word_W` holds now.

    Two words hash alike exactly if their lower-cased code points are alike, up to chance (2**-64). The hash is a
    multiply for each code point (FNV-1a over code points, with a longer multiplier) and a finalizer. Decoding is as
    strict as Python's (no overlong forms, no surrogates; a byte that fits nowhere separates), so both see the same
    words in broken text. It stands inside the loop, and words leave in blocks, because a call costs more than the work:
    one for each byte made it four times slower (46 against 180 MB/s of English), one for each word three times
    (130 against 415 MB/s of Russian).
    """
    capacity = len(word_W)
    while position < stop and filled < capacity:
        word = _BASIS
        least = _ANY  # the smallest entry that goes on with the word
        while position < stop:
            code, size = int(np.int64(bytes_M[_U(position)])), 1
            if code >= 0x80:
                left = stop - position
                second = int(np.int64(bytes_M[_U(position + 1)]) ^ 0x80) if left > 1 else 0xFF
                third = int(np.int64(bytes_M[_U(position + 2)]) ^ 0x80) if left > 2 else 0xFF
                fourth = int(np.int64(bytes_M[_U(position + 3)]) ^ 0x80) if left > 3 else 0xFF
                lead, code = code, _INVALID
                if lead < 0xE0:
                    if lead >= 0xC2 and second < 0x40:
                        code, size = (lead & 0x1F) << 6 | second, 2
                elif lead < 0xF0:
                    if (second | third) < 0x40:
                        long = (lead & 0x0F) << 12 | second << 6 | third
                        if long >= 0x800 and long >> 11 != 0x1B:
                            code, size = long, 3
                elif lead < 0xF5 and (second | third | fourth) < 0x40:
                    long = (lead & 0x07) << 18 | second << 12 | third << 6 | fourth
                    if 0x10000 <= long < 0x110000:
                        code, size = long, 4
            entry = int(np.int64(table_C[_U(code)]))
            if entry >= least:
                word = (word ^ np.uint64(entry & _LOWER)) * _STEP
                least = max(least, _AFTER_SOLO if entry < _AFTER_LETTER else _AFTER_LETTER)
            elif least != _ANY:
                break
            position += size
        if least != _ANY:
            word = (word ^ (word >> _HALF)) * _MIX
            word_W[_U(filled)] = word ^ (word >> _HALF)
            filled += 1
    return position, filled
