"""Strangers' text on a terminal: control characters and escape sequences are shown, not obeyed."""

import unicodedata

_KEPT = frozenset("\u200c\u200d")  # joiners: Persian and emoji are wrong without them
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return `text` on one line, with everything that a terminal could obey (ANSI, bidi overrides) as an escape."""
    return "".join(
        character if character in _KEPT or unicodedata.category(character) not in _HIDDEN else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
