"""Slow twin of transforms.kernels.quality and the kernels under it: the rules over str, as their references read."""

import re
import unicodedata
from collections import Counter

import numpy as np

from tests.reference.tokens import by_character, split_chunk
from transforms.kernels.characters import LETTER, SENTENCE_END, TERMINAL, WORD, character_table
from transforms.kernels.room import STOP_WORDS

CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
WORDS = {"english": split_chunk, "character": by_character}
ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def tokens(text):
    return [token for chunk in text.split() for token in WORDS[SPLIT[-1]](chunk)]


SPLIT = ["english"]  # how words are counted, changed by `measured`


def has(char, flag):
    return bool(int(character_table()[ord(char)]) & flag)


def repeats(units):
    seen, count, chars = set(), 0, 0
    for unit in units:
        if unit in seen:
            count += 1
            chars += len(unit)
        seen.add(unit)
    return count, chars


def gopher_repetition(text):
    """Yield rule and value in order."""
    if not text:
        yield "empty", None
        return
    for name, units in (("para", re.split("\n{2,}", text.strip())), ("line", re.split("\n+", text))):
        count, chars = repeats(units)
        yield f"dup_{name}_frac", count / len(units)
        yield f"dup_{name}_char_frac", chars / len(text)
    words = tokens(text)
    for n in (2, 3, 4):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        if grams:
            gram, count = max(grams.items(), key=lambda item: item[1])
            yield f"top_{n}_gram", len(" ".join(gram)) * count / len(text)
    for n in range(5, 11):
        seen, chars, i = set(), 0, 0
        while i <= len(words) - n:
            gram = tuple(words[i : i + n])
            if gram in seen:
                chars += len("".join(gram))
                i += n
            else:
                seen.add(gram)
                i += 1
        yield f"duplicated_{n}_n_grams", chars / len(text)


def gopher_quality(text):
    all_tokens = tokens(text)
    words = [token for token in all_tokens if any(has(char, WORD) for char in token)]
    lines = text.splitlines()
    yield "gopher_short_doc", len(words)
    yield "gopher_long_doc", len(words)
    if words:
        mean = sum(map(len, words)) / len(words)
        yield "gopher_below_avg_threshold", mean
        yield "gopher_above_avg_threshold", mean
    if all_tokens:
        yield "gopher_too_many_hashes", text.count("#") / len(all_tokens)
        yield "gopher_too_many_ellipsis", (text.count("...") + text.count("\u2026")) / len(all_tokens)
    if lines:
        yield "gopher_too_many_bullets", np.mean([line.lstrip().startswith(("\u2022", "-")) for line in lines])
        yield "gopher_too_many_end_ellipsis", np.mean([line.rstrip().endswith(("...", "\u2026")) for line in lines])
    if all_tokens:
        letters = [any(has(char, LETTER) for char in token) for token in all_tokens]
        yield "gopher_below_alpha_threshold", np.mean(letters)
    yield "gopher_enough_stop_words", len(set(STOP_WORDS) & set(all_tokens))


def sentences(line):
    """spaCy's sentencizer: a mark that is a token of its own ends a sentence, with the punctuation behind it."""
    if not line:
        return 0
    count, ended = 1, False
    for chunk in re.findall(r"\s+|\S+", line):
        pieces = [] if chunk == " " else [chunk] if chunk.isspace() else split_chunk(chunk)
        for token in pieces:
            is_end = len(token) == 1 and has(token, SENTENCE_END)
            if ended and not is_end and not all(unicodedata.category(char)[0] == "P" for char in token):
                count += 1
                ended = False
            elif is_end:
                ended = True
    return count


def c4_tfds(text):
    """Yield rule and value; return the text that is left."""
    kept, count = [], 0
    if len(text) > 190_000:
        yield "too_long", len(text)
    for full in text.splitlines():
        line = full.strip()
        if any(len(word) > 1000 for word in line.split()):
            continue
        line = CITATION.sub("", line)
        lower = line.translate(ASCII_LOWER)
        if not line.endswith((".", "?", "!", '"')) or line.endswith("..."):
            continue
        if len(line.split()) < 5:
            continue
        if "lorem ipsum" in lower:
            yield "loremipsum", None
        if "javascript" in lower:
            continue
        if "{" in line:
            yield "squigglybracket", None
        if any(phrase in lower for phrase in POLICY):
            continue
        kept.append(line)
        count += sentences(line)
    yield "too_few_sentences", count
    return "\n".join(kept).strip()


def c4_fineweb(text):
    """Yield rule and value; return the text that is left."""
    kept, count = [], 0
    for full in text.splitlines():
        words = full.split()
        if any(len(word) > 1000 for word in words):
            continue
        line = CITATION.sub("", full.strip())
        lower = line.translate(ASCII_LOWER)
        if len(words) < 3:
            continue
        if "lorem ipsum" in lower:
            yield "lorem_ipsum", None
        if "javascript" in lower:
            continue
        if "{" in line:
            yield "curly_bracket", None
        if any(phrase in lower for phrase in POLICY):
            continue
        kept.append(line)
        count += sentences(line)
    yield "too_few_sentences", count
    return "\n".join(kept).strip()


def fineweb(text):
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        yield "empty", None
        return
    yield "line_punct_ratio", np.mean([has(line[-1], TERMINAL) for line in lines])
    yield "short_line_ratio", np.mean([len(line) <= 30 for line in lines])
    yield "char_dup_ratio", repeats(lines)[1] / len(text.replace("\n", ""))
    yield "list_ratio", text.count("\n") / len(tokens(text))


def mc4_paragraph(text):
    lines = sorted(map(len, text.split("\n")), reverse=True)
    yield "paragraph_filter", lines[2] if len(lines) > 2 else 0


def fineweb2(text):
    """The rules of three presets, for words that the caller's `tokens` may count by character."""
    for rules in (gopher_repetition, fineweb, gopher_quality):
        yield from rules(text)


RULES = {
    "c4-tfds": c4_tfds,
    "fineweb2": fineweb2,
    "gopher-repetition": gopher_repetition,
    "gopher-quality": gopher_quality,
    "c4-fineweb": c4_fineweb,
    "fineweb": fineweb,
    "mc4-paragraph": mc4_paragraph,
}
AT_LEAST = {
    "gopher_short_doc", "gopher_below_avg_threshold", "gopher_below_alpha_threshold", "gopher_enough_stop_words",
    "too_few_sentences", "line_punct_ratio", "paragraph_filter",
}  # fmt: skip


def measured(text, preset):
    """Rule -> value of one preset, and the text that is left."""
    values, rules = {}, RULES[preset](text)
    SPLIT[-1] = "character" if preset == "fineweb2" else "english"
    while True:
        try:
            name, value = next(rules)
        except StopIteration as stop:
            SPLIT[-1] = "english"
            return values, text if stop.value is None else stop.value
        values.setdefault(name, value)


def verdict(text, presets, thresholds):
    """The first rule that fails (or None), its value, and the text; `thresholds`: preset -> {rule: threshold}."""
    original = text
    for preset in presets:
        values, text = measured(text, preset)
        for name, value in values.items():
            threshold = thresholds[preset].get(name)
            if value is None or (value < threshold if name in AT_LEAST else value > threshold):
                return name, value, original
    return None, None, text
