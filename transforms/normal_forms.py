"""Normal forms: which characters the normaliser of a tokenizer may change because of their neighbours. No Beam."""

import unicodedata
from functools import cache
from typing import Any, Literal

from transforms.kernels.normalise import composing_table


def normal_forms(normalizer: dict[str, Any] | None) -> list[str] | None:
    """Return the steps of a normaliser (its JSON) of the kinds NFC, NFKC and Lowercase, or None."""
    if normalizer is None:
        return []
    if normalizer["type"] == "Sequence":
        steps = [normal_forms(step) for step in normalizer["normalizers"]]
        return None if None in steps else [form for step in steps if step is not None for form in step]
    return [normalizer["type"]] if normalizer["type"] in ("NFC", "NFKC", "Lowercase") else None


def may_change(character: str, form: str) -> bool:
    """Return whether a normaliser may change the character, or one before it because of it."""
    # What this Python does not know may change. What it knows, any other version of Unicode normalises like it does
    # (the stability policy), and small letters are looked up character by character.
    if unicodedata.category(character) == "Cn":
        return True
    if form == "Lowercase":
        return character.lower() != character
    return bool(composing_table("NFC" if form == "NFC" else "NFKC")[ord(character)])


def is_mark(character: str, form: str) -> bool:
    """Return whether normalisation leaves the character alone behind one that is no mark."""
    if form == "Lowercase":
        return not may_change(character, form)
    form_c: Literal["NFC", "NFKC"] = "NFC" if form == "NFC" else "NFKC"
    stays = unicodedata.combining(character) != 0 and unicodedata.is_normalized(form_c, character)
    return stays and ord(character) not in _composing()


# Extend a grapheme without being marks: a carriage return before a line feed, Hangul vowels and finals, Thai and Lao
# vowels, voiced marks of narrow Katakana, skin tones.
_EXTENDING = {
    0x0D,
    *range(0x1160, 0x1200),
    *range(0xD7B0, 0xD800),
    0xE33,
    0xEB3,
    0xFF9E,
    0xFF9F,
    *range(0x1F3FB, 0x1F400),
}


def extends(character: str) -> bool:
    """Return whether the character may be in one grapheme with those beside it (Unicode annex 29), or is not known."""
    category = unicodedata.category(character)
    return category[0] == "M" or category in ("Cf", "Cn") or ord(character) in _EXTENDING


def stands_alone(character: str, forms: list[str]) -> bool:
    """Return whether what the steps make of a character is the same beside any other that stands alone."""
    text = character
    for form in forms:
        if form == "Lowercase":
            if any(unicodedata.category(each) == "Cn" for each in text):
                return False
            text = "".join(each.lower() for each in text)
        else:
            form_c: Literal["NFC", "NFKC"] = "NFC" if form == "NFC" else "NFKC"
            text = "".join(unicodedata.normalize(form_c, each) for each in text)
            if any(may_change(each, form) for each in text):
                return False
    return True


@cache
def _composing() -> frozenset[int]:
    """Return the code points that become one with a character before them."""
    composed = [chr(code) for code in range(0x80, 0x20000) if unicodedata.is_normalized("NFC", chr(code))]
    parts = [unicodedata.decomposition(character).split() for character in composed]
    return frozenset(int(pair[1], 16) for pair in parts if len(pair) == 2 and not pair[0].startswith("<"))
