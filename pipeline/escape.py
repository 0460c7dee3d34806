"""Strangers' text where it is shown: on a terminal or in Markdown it is text, and nothing in it is obeyed."""

import unicodedata

_KEPT = frozenset("\u200c\u200d")  # joiners: Persian and emoji are wrong without them
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKDOWN = str.maketrans({character: f"&#{ord(character)};" for character in "<>&|`*[]\\!#@"})


def printable(text: str) -> str:
    """Return `text` on one line, with everything that a terminal could obey (ANSI, bidi overrides) as an escape."""
    return "".join(
        character if character in _KEPT or unicodedata.category(character) not in _HIDDEN else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def markdown(text: str) -> str:
    """Return `text` on one line that Markdown and the HTML in it show as it is; addresses do not become links."""
    return printable(text).translate(_MARKDOWN).replace("://", ":&#47;&#47;")
