"""The n-gram profiles of the package `langdetect` as the tables of the language kernel."""

import json
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.language import HASH_FACTOR, ROW_SHIFT, SCALE, WIDTH
from transforms.kernels.tables import Arrays, kept
from transforms.kernels.windows import CHAR_BITS, CHAR_MASK, FAR, LATIN, OTHER, SPACE, UPPER

SMOOTHING = 0.5 / 10_000  # langdetect's alpha over its base frequency


class Model(NamedTuple):
    """The labels of the languages, and the tables of `identify` in the order in which it takes them."""

    labels: tuple[str, ...]
    chars_C: NDArray[np.uint16]
    slots_S: NDArray[np.uint64]
    rows_RL: NDArray[np.int16]
    num_languages: int
    hangul_char: int
    korean: int


@cache
def langdetect_model() -> Model:
    """Return the tables for langdetect's languages, in order of their labels.

    A weight is log(1 + p / SMOOTHING), where p is the n-gram's share of the language's n-grams of that length.
    langdetect multiplies by SMOOTHING + p; what all languages have in common changes no posterior. The largest sum of
    three is 26 nats, so int16 holds it.
    """
    paths = sorted((files("langdetect") / "profiles").iterdir(), key=lambda path: path.name)
    assert len(paths) <= WIDTH
    name = f"langdetect-{version('langdetect')}-{unicodedata.unidata_version}"
    chars_C, slots_S, rows_RL = kept(name, lambda: _tables(paths))
    labels = tuple(path.name for path in paths)
    return Model(
        labels=labels,
        chars_C=chars_C,
        slots_S=slots_S,
        rows_RL=rows_RL,
        num_languages=len(labels),
        hangul_char=int(chars_C[0xAC00]) & CHAR_MASK,
        korean=labels.index("ko"),
    )


def _tables(paths: Sequence[Traversable]) -> Arrays:
    """Return chars_C, slots_S and rows_RL of a model; half a second."""
    profiles = [json.loads(path.read_text("utf-8")) for path in paths]
    assert [profile["name"] for profile in profiles] == [path.name for path in paths]
    rows = {gram: row for row, gram in enumerate(sorted({gram for profile in profiles for gram in profile["freq"]}))}
    weights_RL = np.zeros((len(rows), WIDTH))
    for language, profile in enumerate(profiles):
        grams = profile["freq"]
        at_G = np.fromiter((rows[gram] for gram in grams), np.int64, len(grams))
        count_G = np.fromiter(grams.values(), np.float64, len(grams))
        total_G = np.array(profile["n_words"], np.float64)[np.fromiter(map(len, grams), np.int64, len(grams)) - 1]
        weights_RL[at_G, language] = np.log1p(count_G / total_G / SMOOTHING)
    nested_RL = weights_RL.copy()
    for gram, row in rows.items():
        for ending in (gram[1:], gram[2:]):
            if ending and ending != " " and ending in rows:
                nested_RL[row] += weights_RL[rows[ending]]
    rows_RL = np.rint(nested_RL * SCALE)
    assert rows_RL.max() <= np.iinfo(np.int16).max
    numbers = {" ": SPACE} | {char: OTHER + 1 + i for i, char in enumerate(sorted(set("".join(rows)) - {" "}))}
    return _character_table(numbers), _slots(rows, numbers), rows_RL.astype(np.int16)


def _character_table(numbers: dict[str, int]) -> NDArray[np.uint16]:
    """Return number and flags of every code point of the first plane, by langdetect's classes; symbols are spaces."""
    from langdetect.utils.ngram import NGram  # noqa: PLC0415 - slow, and only read when the tables are built

    chars_C = np.empty(0x10000, np.uint16)
    for code in range(0x10000):
        char = NGram.normalize(chr(code))
        if code >= 0x80 and unicodedata.category(chr(code))[0] == "S":
            chars_C[code] = SPACE
            continue
        flags = UPPER * char.isupper() | LATIN * (0x41 <= code <= 0x7A) | FAR * (code >= 0x300)
        chars_C[code] = numbers.get(char, OTHER) | flags
    return chars_C


def _slots(rows: dict[str, int], numbers: dict[str, int]) -> NDArray[np.uint64]:
    """Return an open-addressing table from three characters to a row, a third full."""
    assert max(numbers.values()) < 1 << CHAR_BITS
    assert len(rows) <= 1 << (64 - ROW_SHIFT)
    bits = (2 * len(rows)).bit_length()
    slots = [0] * (1 << bits)
    for gram, row in rows.items():
        key = 0
        for char in gram:
            key = key << CHAR_BITS | numbers[char]
        slot = (key * int(HASH_FACTOR) & 0xFFFFFFFFFFFFFFFF) >> (64 - bits)
        while slots[slot]:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = row << ROW_SHIFT | key
    return np.array(slots, np.uint64)
