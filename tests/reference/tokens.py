"""Slow twin of transforms.kernels.tokens: the same splitting rules as regular expressions over str."""

import re
from functools import cache

import numpy as np

from transforms.kernels.characters import (
    AFFIXES,
    ALPHA,
    CURRENCY,
    LOWER,
    QUOTES,
    SYMBOL,
    UNITS,
    UPPER,
    character_table,
)
from transforms.kernels.english import EXCEPTIONS
from transforms.kernels.words import CLASS_SHIFT, MARK, SOLO, word_table


@cache
def letters():
    """Character classes for [...]: letters, lower-case or uncased letters, upper-case or uncased letters, symbols."""
    names = {"alpha": ALPHA, "lower": LOWER, "upper": UPPER, "icon": SYMBOL}
    table_C = character_table()
    return {name: ranges(np.flatnonzero(table_C & flag).tolist()) for name, flag in names.items()}


def ranges(codes):
    out, start = [], None
    for code, after in zip(codes, [*codes[1:], None], strict=True):
        start = code if start is None else start
        if after != code + 1:
            out.append(f"{re.escape(chr(start))}-{re.escape(chr(code))}")
            start = None
    return "".join(out)


@cache
def patterns():
    c = letters()
    punctuation, quotes, currency = (re.escape(s) for s in (AFFIXES, QUOTES, CURRENCY))
    single = f"[{punctuation}{quotes}{c['icon']}\u2013\u2014]"
    prefix = rf"[\xa7%=]|\+(?![0-9])|{single}|\.\.+|(?:US|C|A)?\$|[{currency}]"
    suffix = "|".join(
        [
            single, "\u2026\u2026", r"\.\.+", "['\u2019][sS]", r"(?<=[0-9])\+", r"(?<=\xb0[FfCcKk])\.",
            rf"(?<=[0-9])(?:(?:US|C|A)?\$|[{currency}])", rf"(?<=[0-9])(?:{'|'.join(map(re.escape, UNITS))})",
            rf"(?<=[0-9%\xb2+|(?:){c['lower']}{punctuation}{quotes}-])\.", rf"(?<=[{c['upper']}][{c['upper']}])\.",
        ]
    )  # fmt: skip
    infix = "|".join(
        [
            r"\.\.+", f"[\u2026{c['icon']}]", r"(?<=[0-9])[+\-*^](?=[0-9-])",
            rf"(?<=[{c['lower']}{quotes}])\.(?=[{c['upper']}{quotes}])", rf"(?<=[{c['alpha']}]),(?=[{c['alpha']}])",
            rf"(?<=[{c['alpha']}0-9])(?:---|--|\u2014\u2014|[-~\u2013\u2014])(?=[{c['alpha']}])",
            rf"(?<=[{c['alpha']}0-9])[:<>=/](?=[{c['alpha']}])",
        ]
    )  # fmt: skip
    label = "[A-Za-z0-9\xa1-\uffff]"
    url = (
        rf"(?:(?:[A-Za-z0-9_+.{c['alpha']}-]){{2,}}://)?(?:\S+@)?"
        r"(?:(?!10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.)"
        r"(?:[1-9][0-9]?|1[0-9][0-9]|2[01][0-9]|22[0-3])(?:\.(?:1?[0-9]{1,2}|2[0-4][0-9]|25[0-5])){2}"
        r"\.(?:[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-4])"
        rf"|(?:(?:{label}(?:{label}|[_-]){{0,62}})?{label}\.)+[{c['lower']}]{{2,63}})"
        r"(?::[0-9]{2,5})?(?:[/?#]\S*)?"
    )
    return re.compile(prefix), re.compile(f"(?:{suffix})$"), re.compile(infix), re.compile(url)


def split_affixes(chunk, exceptions):
    """Strip prefixes and suffixes from both ends, stopping at an exception; the middle is split at infixes."""
    prefix, suffix, infix, url = patterns()
    head, tail = [], []
    while chunk and chunk not in exceptions:
        before = chunk
        if found := prefix.match(chunk):
            cut = found.end()
            if chunk[cut:] in exceptions:
                head.append(chunk[:cut])
                chunk = chunk[cut:]
                break
        else:
            cut = 0
        found = suffix.search(chunk[cut:])
        end = len(chunk) - (len(found[0]) if found else 0)
        if found and chunk[:end] in exceptions:
            tail.append(chunk[end:])
            chunk = chunk[:end]
            break
        if cut:
            head.append(chunk[:cut])
        if found:
            tail.append(chunk[end:])
        chunk = chunk[cut:end]
        if chunk == before:
            break
    if not chunk:
        middle = []
    elif chunk in exceptions:
        middle = list(exceptions[chunk])
    elif url.fullmatch(chunk):
        middle = [chunk]
    else:
        middle, start = [], 0
        for found in infix.finditer(chunk):
            if found.start() == 0:
                continue
            middle += [chunk[start : found.start()], found[0]]
            start = found.end()
        middle = [piece for piece in [*middle, chunk[start:]] if piece]
    return [*head, *middle, *reversed(tail)]


def split_chunk(chunk):
    """The tokens of a run of characters without white space.

    Neighbouring pieces that make up an exception, cut as it would have been cut itself, become its tokens; the longest
    come first.
    """
    pieces = split_affixes(chunk, EXCEPTIONS)
    merged = {}
    taken = [False] * len(pieces)
    for size in range(len(pieces), 1, -1):
        for i in range(len(pieces) - size + 1):
            text = "".join(pieces[i : i + size])
            if not any(taken[i : i + size]) and text in EXCEPTIONS and split_affixes(text, {}) == pieces[i : i + size]:
                merged[i] = EXCEPTIONS[text]
                taken[i : i + size] = [True] * size
    return [token for i, piece in enumerate(pieces) for token in merged.get(i, () if taken[i] else (piece,))]


def tokens(text):
    return [token for chunk in text.split() for token in split_chunk(chunk)]


def by_character(chunk):
    """The same, but letters of scripts without spaces are tokens by themselves, with the marks that follow them."""
    pieces, rest = [], ""
    classes = (word_table() >> CLASS_SHIFT)[list(map(ord, chunk))].tolist()
    for char, kind in zip(chunk, classes, strict=True):
        if kind == SOLO:
            pieces += [*split_chunk(rest), char] if rest else [char]
            rest = ""
        elif kind == MARK and not rest and pieces:
            pieces[-1] += char
        else:
            rest += char
    return [*pieces, *split_chunk(rest)] if rest else pieces
