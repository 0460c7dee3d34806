"""The quality presets: the rules of each reference implementation with its names, order and thresholds. No Beam.

datatrove 0.10 (gopher_repetition_filter, gopher_quality_filter, c4_filters, fineweb_quality_filter), fineweb-2 at
d0defb2, and TFDS 3.1 for c4-tfds. Presets are never mixed: where two references disagree there are two presets.

Words are spaCy's tokens of English, as in datatrove. With `words: character`, which is fineweb2's default, Chinese,
Japanese, Thai and other scripts without spaces count by character; what stands between these is split as English.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from transforms.kernels.quality import C4, C4_TFDS, FINEWEB, GOPHER_QUALITY, GOPHER_REPETITION, MC4_PARAGRAPH

NEVER = float("nan")  # a threshold that no value fails

Words = Literal["english", "character"]


class Preset(NamedTuple):
    """Which kernel measures, its rules in order (name and threshold), and its names for lines cut, by reason.

    `then` are presets that belong to it, and follow.
    """

    kind: int
    rules: tuple[tuple[str, float], ...]
    cuts: tuple[str, ...] = ()
    words: Words = "english"
    then: tuple["Preset", ...] = ()


_GOPHER_REPETITION = (
    ("empty", NEVER),
    ("dup_para_frac", 0.3),
    ("dup_para_char_frac", 0.2),
    ("dup_line_frac", 0.3),
    ("dup_line_char_frac", 0.2),
    ("top_2_gram", 0.2),
    ("top_3_gram", 0.18),
    ("top_4_gram", 0.16),
    ("duplicated_5_n_grams", 0.15),
    ("duplicated_6_n_grams", 0.14),
    ("duplicated_7_n_grams", 0.13),
    ("duplicated_8_n_grams", 0.12),
    ("duplicated_9_n_grams", 0.11),
    ("duplicated_10_n_grams", 0.1),
)
_GOPHER_QUALITY = (
    ("gopher_short_doc", 50.0),
    ("gopher_long_doc", 100_000.0),
    ("gopher_below_avg_threshold", 3.0),
    ("gopher_above_avg_threshold", 10.0),
    ("gopher_too_many_hashes", 0.1),
    ("gopher_too_many_ellipsis", 0.1),
    ("gopher_too_many_bullets", 0.9),
    ("gopher_too_many_end_ellipsis", 0.3),
    ("gopher_below_alpha_threshold", 0.8),
    ("gopher_enough_stop_words", 2.0),
)
_FINEWEB = (
    ("empty", NEVER),
    ("line_punct_ratio", 0.12),
    ("short_line_ratio", 0.67),
    ("char_dup_ratio", 0.01),
    ("list_ratio", 0.3),
)


def _changed(rules: tuple[tuple[str, float], ...], **thresholds: float) -> tuple[tuple[str, float], ...]:
    return tuple((name, thresholds.get(name, threshold)) for name, threshold in rules)


PRESETS = {
    "gopher-repetition": Preset(GOPHER_REPETITION, _GOPHER_REPETITION),
    "gopher-quality": Preset(GOPHER_QUALITY, _GOPHER_QUALITY),
    # As FineWeb ran it. Any number at no_terminal_punc makes lines need an end mark, datatrove's own default.
    "c4-fineweb": Preset(
        C4,
        (
            ("lorem_ipsum", NEVER),
            ("curly_bracket", NEVER),
            ("too_few_sentences", 5.0),
            ("too_long", NEVER),
            ("too_few_words", 3.0),
            ("no_terminal_punc", NEVER),
        ),
        cuts=("too_long_word", "too_few_words", "javascript", "policy", "no_terminal_punc"),
    ),
    # Length and page cleaning of TFDS. Its other steps are options of their own: dedup.url, language, bad_words.
    "c4-tfds": Preset(
        C4_TFDS,
        (
            ("loremipsum", NEVER),
            ("squigglybracket", NEVER),
            ("too_few_sentences", 3.0),
            ("too_long", 190_000.0),
            ("too_short", 5.0),
            ("no_endmark", 1.0),
        ),
        cuts=("too_long_word", "too_short", "javascript", "policy", "no_endmark"),
    ),
    "fineweb": Preset(FINEWEB, _FINEWEB),
    # Stop words, and the thresholds that each language has of its own, come from fineweb-2's files.
    "fineweb2": Preset(
        GOPHER_REPETITION,
        _changed(_GOPHER_REPETITION, dup_para_frac=NEVER, dup_para_char_frac=NEVER, dup_line_char_frac=NEVER),
        words="character",
        then=(
            Preset(FINEWEB, _changed(_FINEWEB, short_line_ratio=NEVER, char_dup_ratio=0.1)),
            Preset(GOPHER_QUALITY, _changed(_GOPHER_QUALITY, gopher_enough_stop_words=NEVER)),
        ),
    ),
    # TFDS 3.1 and datatrove agree: fewer than three lines, or the third longest under 200 characters.
    "mc4-paragraph": Preset(MC4_PARAGRAPH, (("paragraph_filter", 200.0),)),
}

_WITHOUT_THRESHOLD = {"empty", "lorem_ipsum", "curly_bracket", "loremipsum", "squigglybracket"}

_LANGUAGE_SCORE = "language_score"
# Names in fineweb-2's configuration files -> ours.
_FINEWEB2_NAMES = {
    "dup_line_frac": "dup_line_frac",
    "line_punct_thr": "line_punct_ratio",
    "new_line_ratio": "list_ratio",
    "min_avg_word_length": "gopher_below_avg_threshold",
    "max_avg_word_length": "gopher_above_avg_threshold",
    "max_non_alpha_words_ratio": "gopher_below_alpha_threshold",
}


@dataclass(frozen=True)
class LanguageValues:
    """What a preset has for one language: thresholds by rule, stop words of which two must occur, and a least score."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    stop_words: tuple[str, ...] = ()
    language_score: float | None = None


def language_values(values: Mapping[str, Any]) -> LanguageValues:
    """Return the values of one of fineweb-2's files (`configs/<language>_<Script>.yml`), which 0 disables.

    Raises:
        ValueError: a key or a value that such files do not have.
    """
    thresholds: dict[str, float] = {}
    stop_words: tuple[str, ...] = ()
    score = None
    for key, value in values.items():
        try:
            if key in _FINEWEB2_NAMES:
                thresholds[_FINEWEB2_NAMES[key]] = float(value)
            elif key in ("top_n_grams", "dup_n_grams"):
                name = "top_{}_gram" if key == "top_n_grams" else "duplicated_{}_n_grams"
                thresholds |= {name.format(int(n)): float(threshold) for n, threshold in value}
            elif key == "stopwords":
                stop_words = tuple(str(word) for word in value)
                thresholds["gopher_enough_stop_words"] = 2.0
            elif key == _LANGUAGE_SCORE:
                score = float(value)
            else:
                known = [*_FINEWEB2_NAMES, "top_n_grams", "dup_n_grams", "stopwords", _LANGUAGE_SCORE]
                raise ValueError(f"unknown value {key!r}{_nearest(key, known)}")
        except TypeError:
            raise ValueError(f"{key}: {value!r} is not what fineweb-2's files have there") from None
    thresholds = {name: NEVER if value == 0 else value for name, value in thresholds.items()}
    return LanguageValues(thresholds, stop_words, score)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A preset with values of one's own: thresholds by rule (None disables), and by language; how words are counted."""

    preset: str
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    languages: Mapping[str, LanguageValues] = field(default_factory=dict)
    words: Words | None = None


class Part(NamedTuple):
    """One preset of a chain as the kernel wants it, with thresholds and stop words for each language that has some."""

    preset: Preset
    words: Words
    languages: Mapping[str, LanguageValues]


def chosen_presets(choices: Sequence[str | Choice]) -> tuple[Part, ...]:
    """Return the presets of these names or choices, in their order, those that belong to one following it.

    Raises:
        ValueError: a name that is no preset, or a rule that it does not have.
    """
    parts: list[Part] = []
    for given in choices:
        choice = Choice(preset=given) if isinstance(given, str) else given
        if choice.preset not in PRESETS:
            raise ValueError(f"quality preset {choice.preset!r} is not known{_nearest(choice.preset, PRESETS)}")
        first = PRESETS[choice.preset]
        presets = (first, *first.then)
        rules = [name for preset in presets for name, _ in preset.rules]
        for name in (*choice.thresholds, *(name for values in choice.languages.values() for name in values.thresholds)):
            if name not in rules:
                raise ValueError(f"{choice.preset} has no rule {name!r}{_nearest(name, rules)}")
        own = {name: NEVER if value is None else float(value) for name, value in choice.thresholds.items()}
        words = choice.words or first.words
        parts += [
            Part(preset._replace(rules=_changed(preset.rules, **own)), words, choice.languages) for preset in presets
        ]
    return tuple(parts)


def document_rules(choices: Sequence[str | Choice]) -> list[str]:
    """Return the names of the rules of presets that may reject a document, in their order."""
    return list(
        dict.fromkeys(
            name
            for part in chosen_presets(choices)
            for name, threshold in part.preset.rules
            if name not in part.preset.cuts and (name in _WITHOUT_THRESHOLD or not math.isnan(threshold))
        )
    )


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    [nearest] = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"; the nearest is {nearest!r}"


@dataclass(frozen=True, kw_only=True)
class ThresholdRule:
    """A rule on a statistic of a document: it fails below `min` or above `max`, under `name` (the statistic's)."""

    statistic: str
    min: float | None = None
    max: float | None = None
    name: str | None = None


def check_rules(rules: Sequence[ThresholdRule], statistics: Sequence[str]) -> None:
    """Refuse rules on statistics that there are not, and rules that no value fails.

    Raises:
        ValueError: with the nearest statistic.
    """
    for rule in rules:
        if rule.statistic not in statistics:
            raise ValueError(f"statistic {rule.statistic!r} is not known{_nearest(rule.statistic, statistics)}")
        if rule.min is None and rule.max is None:
            raise ValueError(f"the rule on {rule.statistic!r} has neither min nor max")
