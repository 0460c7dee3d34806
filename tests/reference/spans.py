"""The obvious twin of transforms.kernels.spans and of the cuts made from it: strings, dictionaries and sets."""

import re
from collections import Counter

from tests.reference.words import words

Cut = tuple[int, int, int]  # document, first byte, behind the last byte


def units(text: bytes, *, paragraphs: bool) -> list[tuple[int, int, bytes]]:
    """Return start, stop and content of every line or paragraph, the line feeds that end it inside."""
    pattern = rb"(.*?)(?:\n\n|\Z)" if paragraphs else rb"([^\n]*)(?:\n|\Z)"
    found = re.finditer(pattern, text, re.DOTALL)
    return [(match.start(), match.end(), match[1]) for match in found if match.end() > match.start()]


def line_cuts(texts: list[bytes], *, paragraphs: bool, min_words: int, keep: int) -> list[tuple[int, int, int, int]]:
    """Return every span of equal words but the first `keep`, with the document of the first (for that: the second)."""
    spans = [
        (n, start, stop, tuple(words(content)))
        for n, text in enumerate(texts)
        for start, stop, content in units(text, paragraphs=paragraphs)
    ]
    spans = [span for span in spans if len(span[3]) >= min_words]
    seen: Counter[tuple[str, ...]] = Counter()
    cuts = []
    for n, start, stop, own in spans:
        seen[own] += 1
        equal = [span for span in spans if span[3] == own]
        if seen[own] > keep and len(equal) > 1:
            cuts.append((n, start, stop, equal[0][0] if (n, start) != equal[0][:2] else equal[1][0]))
    return cuts


def window_cuts(texts: list[bytes], length: int) -> list[Cut]:
    """Return the spans of whole characters that lie in windows of bytes seen before; the window seen stays whole."""
    first: dict[bytes, tuple[int, int]] = {}
    cuts = []
    for n, text in enumerate(texts):
        gone = set()
        for p in range(len(text) - length + 1):
            m, q = first.setdefault(text[p : p + length], (n, p))
            if (m, q) != (n, p):
                gone |= set(range(max(p, q + length) if m == n else p, p + length))
        edges = [i for i in range(len(text) + 1) if (i in gone) != (i - 1 in gone)]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            inside = [i for i in range(start, stop + 1) if i == len(text) or text[i] & 0xC0 != 0x80]
            cuts.append((n, inside[0], inside[-1]) if inside else (n, start, start))
    return cuts
