"""Character classes of the word and line rules: one number of flags for every code point.

Letters, marks, symbols and white space come from Python's Unicode database. The lists are those of the references: the
affixes of spaCy's blank `en` tokeniser, datatrove's punctuation set, and its terminal marks (which are close to the
Unicode property Sentence_Terminal but not equal, so they are not derived from it).
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.tables import kept
from transforms.kernels.words import CLASS_SHIFT, SEPARATOR, SOLO, word_table
from transforms.kernels.words import MARK as CLASS_MARK

SPACE = 1 << 0  # str.isspace
ALPHA = 1 << 1  # letter or mark, modifiers and combining diacritics apart
LOWER = 1 << 2  # of these, lower-case or without case
UPPER = 1 << 3  # of these, upper-case or without case
AFFIX = 1 << 4  # splits off at both ends of a chunk
PREFIX = 1 << 5  # splits off in front only
CURRENCY_SIGN = 1 << 6  # splits off in front, and behind a digit
BEFORE_DOT = 1 << 7  # a full stop splits off behind it
QUOTE = 1 << 8
SYMBOL = 1 << 9  # splits wherever it stands
HOST = 1 << 10  # may stand in a host name, beside hyphen and underscore
WORD = 1 << 11  # not in the punctuation or terminal set: makes a token a word
LETTER = 1 << 12  # str.isalpha
TERMINAL = 1 << 13  # ends a line properly
SENTENCE_END = 1 << 14  # as a token of its own ends a sentence
MARK = 1 << 15  # category P

# In the table of `by_character_table` alone: a character that is a word by itself, and a mark that may follow it.
ALONE = SYMBOL | ALPHA
COMBINING = MARK | ALPHA

AFFIXES = (
    ",:;!?()[]{}<>_#*&\xa1\xb7\xbf\u2026"
    "\u060c\u061b\u061f\u066a\u06d4\u0964\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f\uff5e"
)
QUOTES = (
    "'\",`\xab\xb4\xbb\u2018\u2019\u201a\u201c\u201d\u201e\u2329\u232a\u27e6\u27e7\u3008\u3009\u300a\u300b\u300c\u300d"
    "\u300e\u300f\u3010\u3011\u3014\u3015\uff08\uff09"
)
CURRENCY = "$\xa3\xa5\u0e3f\ufdfc" + "".join(map(chr, range(0x20A0, 0x20C0)))

# Behind a digit these split off: Latin, Cyrillic and Arabic.
_UNITS = (
    "km km\xb2 km\xb3 m m\xb2 m\xb3 dm dm\xb2 dm\xb3 cm cm\xb2 cm\xb3 mm mm\xb2 mm\xb3 ha \xb5m nm yd in ft kg g mg "
    "\xb5g t lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % "
    "\u043a\u043c \u043a\u043c\xb2 \u043a\u043c\xb3 \u043c \u043c\xb2 \u043c\xb3 \u0434\u043c \u0434\u043c\xb2 "
    "\u0434\u043c\xb3 \u0441\u043c \u0441\u043c\xb2 \u0441\u043c\xb3 \u043c\u043c \u043c\u043c\xb2 \u043c\u043c\xb3 "
    "\u043d\u043c \u043a\u0433 \u0433 \u043c\u0433 \u043c/\u0441 \u043a\u043c/\u0447 \u043a\u041f\u0430 \u041f\u0430 "
    "\u043c\u0431\u0430\u0440 \u041a\u0431 \u041a\u0411 \u043a\u0431 \u041c\u0431 \u041c\u0411 \u043c\u0431 "
    "\u0413\u0431 \u0413\u0411 \u0433\u0431 "
    "\u0422\u0431 \u0422\u0411 \u0442\u0431\u0643\u0645 \u0643\u0645 \u0643\u0645\xb2 "
    "\u0643\u0645\xb3 \u0645 \u0645\xb2 \u0645\xb3 \u0633\u0645 \u0633\u0645\xb2 \u0633\u0645\xb3 \u0645\u0645 "
    "\u0645\u0645\xb2 \u0645\u0645\xb3 \u063a\u0631\u0627\u0645 \u062c\u0631\u0627\u0645 \u062c\u0645 \u0643\u063a "
    "\u0645\u0644\u063a \u0643\u0648\u0628 \u0627\u0643\u0648\u0627\u0628"
)
UNITS = tuple(_UNITS.split(" "))

# datatrove's PUNCTUATION: ASCII punctuation, controls but tab and line feed, and these; U+FF11 is a digit, and in it.
_PUNCTUATION = (
    "\xab\xb4\xbb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba\u3001\u3002\u3008\u3009\u300a\u300b\u300c"
    "\u300d\u3010\u3011\uff01\uff05\uff08\uff09\uff0c\uff0e\uff11\uff1a\uff1b\uff1f\uff5e"
)
_CONTROLS = (range(0x09), range(0x0B, 0x20), range(0x7F, 0xA0))
_ASCII_MARKS = (range(0x21, 0x30), range(0x3A, 0x41), range(0x5B, 0x61), range(0x7B, 0x7F))

_TERMINAL = """
0021 002E 003F 0589 061D-061F 06D4 0700-0702 07F9 0837 0839 083D-083E 0964-0965 104A-104B 1362 1367-1368 166E 1735-1736
17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049
2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52
FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD
111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946
11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16E98 1BC9F 1DA88
"""
_TERMINAL_ONLY = """
061D-061E 0837 0839 083D-083E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944 11946 11EF7-11EF8
11F43-11F44 16E98
"""  # not ends of sentences for spaCy's sentencizer, whose list is older

_NOT_ALPHA = (
    range(0xAA, 0xC0),
    range(0x2B0, 0x370),
    range(0x1D2C, 0x1D6B),
    range(0x2071, 0x20A0),
)  # diacritics, modifiers


def code_points(ranges: str) -> list[int]:
    """Return the code points of a list of hexadecimal numbers and ranges."""
    bounds = [(part.partition("-")[0], part.rpartition("-")[2]) for part in ranges.split()]
    return [code for first, last in bounds for code in range(int(first, 16), int(last, 16) + 1)]


@cache
def character_table() -> NDArray[np.uint16]:
    """Return uint16 [0x110000]: the flags of every code point."""
    [flags_C] = kept(f"characters-{unicodedata.unidata_version}", lambda: (_character_table(),))
    return flags_C


def _character_table() -> NDArray[np.uint16]:
    flags_C = np.zeros(0x110000, np.uint16)
    for code in range(0x110000):
        char = chr(code)
        category = unicodedata.category(char)
        flags = WORD
        if category[0] in "LM" and not any(code in part for part in _NOT_ALPHA):
            flags |= ALPHA | LOWER * (category not in ("Lu", "Lt")) | UPPER * (category != "Ll")
        elif category == "So":
            flags |= AFFIX | SYMBOL
        elif category[0] == "P":
            flags |= MARK
        flags_C[code] = flags | SPACE * char.isspace() | LETTER * char.isalpha()
    flags_C[0x3000:0x3040] |= ALPHA | LOWER | UPPER  # brackets too: the reference takes the CJK blocks as a whole
    digits = list(range(0x30, 0x3A))
    ascii_letters = [*range(0x41, 0x5B), *range(0x61, 0x7B)]
    flags_C[[*digits, *ascii_letters]] |= HOST
    flags_C[0xA1:0x10000] |= HOST
    affixes, quotes, currency = (list(map(ord, chars)) for chars in (AFFIXES, QUOTES, CURRENCY))
    flags_C[[*affixes, *quotes, 0x2013, 0x2014]] |= AFFIX
    flags_C[[0xA7, 0x25, 0x3D]] |= PREFIX
    flags_C[currency] |= CURRENCY_SIGN
    flags_C[quotes] |= QUOTE
    flags_C[0x2026] |= SYMBOL
    lower_C = flags_C & LOWER != 0
    flags_C[lower_C] |= BEFORE_DOT
    flags_C[[*digits, *affixes, *quotes, *map(ord, "%\xb2+-|")]] |= BEFORE_DOT
    terminal = code_points(_TERMINAL)
    flags_C[terminal] |= TERMINAL | SENTENCE_END
    flags_C[code_points(_TERMINAL_ONLY)] &= ~np.uint16(SENTENCE_END)
    marks = [code for part in (*_CONTROLS, *_ASCII_MARKS) for code in part]
    flags_C[[*marks, *map(ord, _PUNCTUATION), *terminal]] &= ~np.uint16(WORD)
    return flags_C


@cache
def by_character_table() -> NDArray[np.uint16]:
    """Return `character_table` for texts without spaces between words: Chinese, Japanese, Thai and the like.

    Their letters, those of `transforms.kernels.words`, have ALONE, and combining marks have COMBINING.
    """
    flags_C = character_table().copy()
    class_C = word_table() >> np.uint32(CLASS_SHIFT)
    flags_C[0x3000:0x3040][class_C[0x3000:0x3040] == SEPARATOR] &= ~np.uint16(ALPHA)
    flags_C[class_C == CLASS_MARK] |= np.uint16(COMBINING)
    flags_C[class_C == SOLO] |= np.uint16(ALONE)
    flags_C.setflags(write=False)
    return flags_C
