"""Slow twin of transforms.kernels.sentences: one text as a Python string, with regular expressions."""

import re

from transforms.kernels.characters import LOWER, SENTENCE_END, UPPER, character_table
from transforms.kernels.sentences import ABBREVIATIONS, CLOSERS, NEWLINES, WIDE_TERMINALS


def _flag(char, flag):
    return bool(character_table()[ord(char)] & flag)


def _terminal(char):
    return _flag(char, SENTENCE_END) or char in WIDE_TERMINALS or char == "\u2026"


def _small(char):
    return _flag(char, LOWER) and not _flag(char, UPPER)


def _space(char):
    return char.isspace() or char in NEWLINES


def _short(word):
    word = word.lstrip("\"'(")
    if len(word) == 1 and _flag(word, UPPER) and not _flag(word, LOWER):
        return True
    if len(word.encode()) > 8:
        return False
    if re.fullmatch(r"[0-9]{1,2}", word) or re.fullmatch(r"[A-Za-z](\.[A-Za-z])+", word):
        return True
    return word.isascii() and word.lower() in ABBREVIATIONS


def split(text):
    """Return the sentences of a text, which together are the text."""
    if not text:
        return []
    starts = [0]
    for position in range(1, len(text)):
        before, after = text[starts[-1] : position], text[position:]
        if _space(text[position - 1]) or not before.strip():
            continue
        if _space(text[position]):
            run = after[: len(after) - len(after.lstrip())]
            following = after.lstrip()
            if not following:
                continue
            if any(char in NEWLINES for char in run) or _ends(before, soft=not _small(following[0])):
                starts.append(position)
        elif not _terminal(text[position]) and text[position] not in CLOSERS and _ends(before, soft=False):
            starts.append(position)
    return [text[start:stop] for start, stop in zip(starts, [*starts[1:], len(text)], strict=True)]


def _ends(before, *, soft):
    """Whether a sentence that is `before` so far ends here; `soft`: also behind a terminal that is not wide."""
    tail = len(before)
    while tail and (before[tail - 1] in CLOSERS or _terminal(before[tail - 1])):
        tail -= 1
    ending = before[tail:]
    first = next((number for number, char in enumerate(ending) if _terminal(char)), None)
    if first is None:
        return False
    if any(char in WIDE_TERMINALS for char in ending[first:]):
        return True
    terminals = [char for char in ending[first:] if _terminal(char)]
    word = before[: tail + first]
    while any(map(_space, word)):
        word = word[next(number for number, char in enumerate(word) if _space(char)) + 1 :]
    held = terminals == ["."] and _short(word)
    return soft and not held
