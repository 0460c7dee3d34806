"""The obvious twin of transforms.kernels.words: Python's decoder, general categories and script names."""

import unicodedata

_SOLO = (
    "BALINESE ", "BOPOMOFO ", "CJK ", "HALFWIDTH KATAKANA", "HANGZHOU ", "HENTAIGANA ", "HIRAGANA ", "JAVANESE ",
    "IDEOGRAPHIC ANNOTATION", "IDEOGRAPHIC CLOSING", "IDEOGRAPHIC ITERATION", "IDEOGRAPHIC NUMBER", "KATAKANA",
    "KHMER ", "LAO ", "MASU ", "MYANMAR ", "NEW TAI LUE ", "TAI LE ", "TAI THAM ", "TAI VIET ", "THAI ",
    "VERTICAL IDEOGRAPHIC", "VERTICAL KANA",
)  # fmt: skip


def kind(char: str) -> str:
    """Return separator, letter, mark or solo."""
    category = unicodedata.category(char)[0]
    if category == "M":
        return "mark"
    if category not in "LN":
        return "separator"
    solo = unicodedata.name(char, "").startswith(_SOLO)
    return "solo" if solo else "letter"


def words(text: bytes) -> list[str]:
    """Return the lower-cased words of `text`."""
    found = [""]
    alone = False
    for char in text.decode("utf-8", "replace"):
        now = kind(char)
        if now == "separator":
            found.append("")
            continue
        if now == "solo" or (now == "letter" and alone):
            found.append("")
        alone = now == "solo" or (now == "mark" and alone and found[-1] != "")
        found[-1] += char.lower()[0]
    return [word for word in found if word]


def word_hash(word: str) -> int:
    """Return the 64-bit hash of a lower-cased word."""
    mask = (1 << 64) - 1
    value = 0x9E3779B97F4A7C15
    for char in word:
        value = (value ^ ord(char)) * 0xD6E8FEB86659FD93 & mask
    value = (value ^ value >> 32) * 0xFF51AFD7ED558CCD & mask
    return value ^ value >> 32
