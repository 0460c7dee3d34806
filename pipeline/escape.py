"""Strangers' text where it is shown: on a terminal or in Markdown it is text, and nothing in it is obeyed."""

import json
import re
import unicodedata
from typing import Any

_KEPT = frozenset("\u200c\u200d")  # joiners: Persian and emoji are wrong without them
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKDOWN = str.maketrans(
    {character: f"&#{ord(character)};" for character in "<>&|`*_~[]\\!#:"} | {"@": "&#64;&#8288;"}
)  # a word joiner: an e-mail address is found behind entities too

_WWW = re.compile(r"(www)\.", re.IGNORECASE)


def printable(text: str) -> str:
    """Return `text` on one line, with everything that a terminal could obey (ANSI, bidi overrides) as an escape."""
    return "".join(_escaped(character) if _is_hidden(character) else character for character in text)


def printable_json(value: Any, indent: int | None = None) -> str:
    """Return JSON in which such characters are JSON's own escapes: it is read back as it was.

    It is on one line, or indented on many; the line ends of strings are escapes already.
    """
    return "".join(
        json.dumps(character)[1:-1] if _is_hidden(character) and character != "\n" else character
        for character in json.dumps(value, ensure_ascii=False, indent=indent)
    )


def _is_hidden(character: str) -> bool:
    return character not in _KEPT and unicodedata.category(character) in _HIDDEN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def markdown(text: str) -> str:
    """Return `text` on one line that Markdown and the HTML in it show as it is; addresses do not become links."""
    return _WWW.sub(r"\1&#46;", printable(text).translate(_MARKDOWN))
