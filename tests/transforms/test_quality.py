"""transforms.quality: batches in, batches out, beside the slow twin."""

import math

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reference import quality as twin
from tests.transforms.batches import batch_of
from transforms.batch import BatchKey
from transforms.each_batch import EachBatch
from transforms.kernels.lexicon import NUM_ROWS
from transforms.kernels.room import new_room
from transforms.kernels.statistics import STATISTICS
from transforms.presets import PRESETS, Choice, LanguageValues, ThresholdRule, chosen_presets, language_values
from transforms.quality import _SPARE, FilterQuality, Memory, filter_quality
from transforms.schema import IN_FLIGHT, STATISTIC, edit_columns

ALL = ("gopher-repetition", "gopher-quality", "c4-fineweb", "fineweb")
THRESHOLDS = {
    name: {rule: value for part in reversed([preset, *preset.then]) for rule, value in part.rules}
    for name, preset in PRESETS.items()
}
MEMORY = Memory()


def verdicts(texts, presets):
    out = filter_quality(batch_of(texts), presets=presets, memory=MEMORY)
    return [tuple(row.values()) for row in out.select(["rule", "value", "text"]).to_pylist()]


def assert_like_twin(texts, presets):
    for text, (rule, value, out) in zip(texts, verdicts(texts, presets), strict=True):
        expected = twin.verdict(text, presets, THRESHOLDS)
        assert (rule, out) == (expected[0], expected[2]), text
        assert value == pytest.approx(expected[1])


# A hundred different words, in sentences of ten, that no rule objects to.
FIRSTS, LASTS = "lor mip dus tam ven", "an ek ilo om us ard ent iss or ulm ash eth ing off unt ad ell ik ost ur"
WORDS = [f"{first}{last}" for first in FIRSTS.split() for last in LASTS.split()]
LINES = [f"The {' '.join(WORDS[i : i + 5])} {stop} {' '.join(WORDS[i + 5 : i + 10])}."
         for i, stop in zip(range(0, 100, 10), ["that", "with", *["while"] * 8], strict=True)]  # fmt: skip
GOOD = "\n".join(LINES)


def test_good_text_passes_everything():
    """A text that no rule objects to comes out as it went in."""
    assert verdicts([GOOD], ALL) == [(None, None, GOOD)]


LONG_LINES = [f"{WORDS[i] * 6} {WORDS[i + 9]}." for i in (70, 75, 80, 85)]

# preset -> rule -> text that fails this rule first, made from GOOD by one change
FAILING = {
    "gopher-repetition": {
        "empty": "",
        "dup_para_frac": "\n\n".join(["Again.", *LINES[:2], "Again.", "Again."]),
        "dup_para_char_frac": "\n\n".join([*LINES, *LINES[:3]]),
        "dup_line_frac": "\n".join(["Again.", *LINES[:2], "Again.", "Again."]),
        "dup_line_char_frac": "\n".join([*LINES, *LINES[:3]]),
        "top_2_gram": " ".join(f"one two {word}" for word in WORDS),
        "top_3_gram": " ".join(f"one two three {' '.join(WORDS[i : i + 5])}" for i in range(0, 100, 5)),
        "top_4_gram": " ".join(f"one two five six {' '.join(WORDS[i : i + 9])}" for i in range(0, 90, 9)),
        "duplicated_5_n_grams": GOOD + " " + " | ".join(" ".join(WORDS[i : i + 5]) for i in (0, 15, 20, 35, 40, 55)),
        "duplicated_10_n_grams": GOOD + " " + LINES[3] + " x " + LINES[5][:-1],
    },
    "gopher-quality": {
        "gopher_short_doc": " ".join(WORDS[:49]) + " !" * 20,
        "gopher_below_avg_threshold": "a be " * 40,
        "gopher_above_avg_threshold": " ".join(f"{word}{word}{word}" for word in WORDS),
        "gopher_too_many_hashes": GOOD + " #" * 16,
        "gopher_too_many_ellipsis": GOOD + " \u2026" * 8 + " ..." * 8,
        "gopher_too_many_bullets": "\n".join(f"- {line}" for line in LINES),
        "gopher_too_many_end_ellipsis": "\n".join(f"{line}.. " for line in LINES[:4]) + "\n" + "\n".join(LINES[4:]),
        "gopher_below_alpha_threshold": GOOD + " 12" * 40,
        "gopher_enough_stop_words": GOOD.replace("with", "With").replace("that", "the"),
    },
    "c4-fineweb": {
        "lorem_ipsum": GOOD + "\nThis is Lorem IPSUM, three words.",
        "curly_bracket": GOOD + "\nif (x) { return }",
        "too_few_sentences": "\n".join(LINES[:4]) + "\nOne two.\nUse of javascript is required. Really. Yes.",
    },
    "fineweb": {
        "empty": " \n\t\n",
        "line_punct_ratio": GOOD.replace(".", ";"),
        "short_line_ratio": "\n".join([*LINES[:3], *(f"{word} is short." for word in WORDS[:7])]),
        "char_dup_ratio": "\n".join([*LINES, LINES[3]]),
        "list_ratio": "\n\n\n\n\n".join(LINES),
    },
    "c4-tfds": {
        "too_long": f"{GOOD}\n" + "x " * 95_000,
        "loremipsum": GOOD + "\nThis is Lorem IPSUM, five words.",
        "squigglybracket": GOOD + "\nif it is (x) { return }.",
        "too_few_sentences": "\n".join(LINES[:2]) + "\nOne two three four.\nUse of javascript is required. Really.",
    },
    "fineweb2": {
        "empty": "",
        "dup_line_frac": "\n".join(["Again.", *LINES[:2], "Again.", "Again."]),
        "top_3_gram": " ".join(f"one two three {' '.join(WORDS[i : i + 5])}" for i in range(0, 100, 5)),
        "line_punct_ratio": GOOD.replace(".", ";"),
        "char_dup_ratio": "\n".join([*LINES, *LONG_LINES, *LONG_LINES[::-1]]),
        "gopher_short_doc": " ".join(WORDS[:48]) + ".",
        "gopher_below_avg_threshold": "".join(map(chr, range(0x4E00, 0x4F00))) + "\u3002",
    },
    "mc4-paragraph": {"paragraph_filter": "\n".join(["x" * 400, "y" * 300, "\xe9" * 199, "z" * 150])},
}


@pytest.mark.parametrize(("preset", "rule"), [(p, r) for p, rules in FAILING.items() for r in rules])
def test_each_rule_fails_first(preset, rule):
    """A text made to fail one rule fails that one, with the twin's value and the documented threshold."""
    out = filter_quality(batch_of([FAILING[preset][rule]]), presets=[preset], memory=MEMORY)
    assert out.column("rule").to_pylist() == [rule]
    assert_like_twin([FAILING[preset][rule]], [preset])
    threshold = THRESHOLDS[preset][rule]
    assert out.column("threshold").to_pylist() == [None if math.isnan(threshold) else threshold]


def test_three_paragraphs():
    """Three lines of 200 characters pass, in any order; two of them do not, whatever their length."""
    texts = ["\n".join(["y" * 300, "\xe9" * 200, "z" * 400]), "x" * 900 + "\n" + "y" * 900, "a\u2028" * 600]
    assert [rule for rule, _, _ in verdicts(texts, ["mc4-paragraph"])] == [None, "paragraph_filter", "paragraph_filter"]


def test_too_long_documents():
    """More than 100,000 words are too many, and 100,000 are not; both need larger arrays than there are at first."""
    text = "the that " * 50_000
    out = filter_quality(batch_of([text, text + "x"]), presets=["gopher-quality"])
    assert out.column("rule").to_pylist() == [None, "gopher_long_doc"]
    assert out.column("value").to_pylist() == [None, 100_001.0]


C4_LINES = [
    ("a b", None),
    ("a b c", "a b c"),
    ("  a  b\tc \x85", "a  b\tc"),
    ("[1] [2] ok.", "  ok."),  # words are counted before citations go
    ("text [12] here [edit] and [citation needed] there", "text  here  and  there"),
    ("[a] [1 2] [Edit] stays", "[a] [1 2] [Edit] stays"),
    ("needs JavaScript to run", None),
    ("needs java script to run", "needs java script to run"),
    ("our Privacy Policy has changed", None),
    ("we use cookies here", None),
    ("x" * 1001 + " a b", None),
    ("x" * 1000 + " a b", "x" * 1000 + " a b"),
    ("javascript { in one line", None),  # cut before the bracket is looked at
    ("lorem  ipsum dolor sit", "lorem  ipsum dolor sit"),
    ("it is ... unfinished ...", "it is ... unfinished ..."),
    ("one two.\xa0[1]", "one two.\xa0"),  # the space counts as a second sentence
]


def test_c4_cuts_lines():
    """Each line rule of C4 on a line made for it, between lines that stay; U+2028 ends a line too."""
    for separator in ("\n", "\r\n", "\u2028", "\x0b"):
        for line, kept in C4_LINES:
            text = separator.join([*LINES[:5], line, LINES[5]])
            expected = "\n".join([*LINES[:5], *([] if kept is None else [kept]), LINES[5]])
            assert verdicts([text], ["c4-fineweb"]) == [(None, None, expected)]
            assert_like_twin([text], ["c4-fineweb"])


def test_presets_see_what_c4_left():
    """Presets after c4-fineweb measure the cut text; a rejected row keeps the text it came with."""
    text = GOOD + "\n" + "\n".join(f"two {word}" for word in WORDS[:25])
    assert verdicts([text], ["fineweb"])[0][0] == "short_line_ratio"
    assert verdicts([text], ["c4-fineweb", "fineweb"]) == [(None, None, GOOD)]
    bad = text + "\n" + LINES[0]
    assert verdicts([bad], ["c4-fineweb", "fineweb"])[0][::2] == ("char_dup_ratio", bad)


CHARACTERS = st.sampled_from(
    [
        *(f"{word} " for word in WORDS[:4]), *(f"{line}\n" for line in LINES[:2]), "the ", "that ", "be", " ", "  ",
        "\t", "\n", "\n\n", "\n", "\r", "\r\n", "\x85", "\u2028", "\xa0", "\x1c", ".", ". ", "!", '?"', "...", "\u2026",
        "#", "- ", "\u2022 ", "{", "[1]", "[edit]", "[", "JavaScript ", "lorem ipsum", "use cookies ", "\u3002",
        "\u4e2d\u6587", "\u0e01\u0e48\u0e32", "\u0301", "e.g. ", "don't ", "a.[2]B", "x" * 1001, "1 2 3 4 5 ",
    ]
)  # fmt: skip
TEXTS = st.lists(CHARACTERS, max_size=40).map("".join)


@given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from([ALL, ALL[::-1], *[(name,) for name in PRESETS]]))
@settings(max_examples=400, deadline=None)
def test_verdicts_equal_twin(texts, presets):
    """Kernels and twin give any text the same rule, value and text, preset by preset and in a chain."""
    assert_like_twin(texts, presets)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_measures_equal_twin(text):
    """With a threshold that everything fails each single measure of a text can be seen, and it is the twin's."""
    for preset, rules in THRESHOLDS.items():
        if PRESETS[preset].then:
            continue  # made of presets that are looked at by themselves
        values, _ = twin.measured(text, preset)
        for name, value in values.items():
            if value is None or any(v is None for v in values.values()):
                continue
            assert measure(text, preset, name) == pytest.approx(value), (preset, name)
        assert set(values) <= set(rules)


N_GRAM_RULES = [name for name in THRESHOLDS["gopher-repetition"] if "gram" in name]


@given(
    st.lists(st.lists(st.sampled_from(WORDS[:12]), min_size=1, max_size=14), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=24),
)
@example([["lorek"] * 14], [0] * 9)  # n-grams that overlap themselves
@settings(max_examples=60, deadline=None)
def test_n_grams_fail_just_below_their_value(phrases, order):
    """Bounded or counted, a rule of n-grams passes at a threshold of what is measured, and fails at the next below."""
    text = " ".join(word for i in order for word in [*phrases[i % len(phrases)], *WORDS[40 + i : 42 + i]]) + " end"
    found = twin.measured(text, "gopher-repetition")[0]
    values = {name: found.get(name) or 0.0 for name in N_GRAM_RULES}
    others = dict.fromkeys(set(THRESHOLDS["gopher-repetition"]) - set(values) - {"empty"})
    assert rejected(text, others | values) == (None, None)
    for name, value in values.items():
        below = {name: math.nextafter(value, -1)}
        assert rejected(text, others | values | below) == (name, pytest.approx(value))
        assert rejected(text, others | dict.fromkeys(values) | below) == (name, pytest.approx(value))


def rejected(text, thresholds):
    """Rule and value by which gopher-repetition with these thresholds rejects a text."""
    out = filter_quality(
        batch_of([text]), presets=[Choice(preset="gopher-repetition", thresholds=thresholds)], memory=MEMORY
    )
    return out.column("rule")[0].as_py(), out.column("value")[0].as_py()


OF_LINES = {"too_few_words", "no_terminal_punc", "too_short", "no_endmark"}


def measure(text, preset, rule):
    """The value of one rule: every other rule is disabled, and this one has a threshold that everything fails."""
    from unittest.mock import patch

    worst = float("inf") if rule in twin.AT_LEAST else -1.0
    rules = tuple(
        (name, worst if name == rule else threshold if name in OF_LINES else float("nan"))
        for name, threshold in PRESETS[preset].rules
    )
    with patch.dict(PRESETS, {preset: PRESETS[preset]._replace(rules=rules)}):
        out = filter_quality(batch_of([text]), presets=[preset], memory=MEMORY)
    return out.column("value")[0].as_py()


def test_arrays_grow_without_changing_a_verdict():
    """Starting with room for four tokens and four lines gives the same verdicts and line counts."""
    texts = [GOOD, "\n".join(C4_LINES[i][0] for i in range(10)), GOOD * 3, "[1] a b c d.\n" * 30]
    small = Memory()
    small.room = new_room(len(small.lexicon.rows_R), 4, 4)
    out = filter_quality(batch_of(texts), presets=["c4-fineweb", "gopher-repetition"], memory=small)
    again = filter_quality(batch_of(texts), presets=["c4-fineweb", "gopher-repetition"], memory=MEMORY)
    assert out.to_pylist() == again.to_pylist()
    assert len(small.room.first.tokens_T) > 4


def test_memory_does_not_keep_what_a_huge_document_took():
    """After a document of a million lines the arrays are small again; after too many strings the lexicon is."""
    memory = Memory(max_rows=5000)
    filter_quality(batch_of(["a\n" * 1_000_000]), presets=["fineweb"], memory=memory)
    assert len(memory.room.first.hashes_L) < 1 << 18
    filter_quality(batch_of([" ".join(f"word{i}" for i in range(5000))]), presets=["fineweb"], memory=memory)
    assert memory.lexicon.used[NUM_ROWS] < 2000


def test_verdicts_do_not_depend_on_what_was_seen_before():
    """A batch gives the same rows after other batches as it does first."""
    texts = [GOOD, *(text for rules in FAILING.values() for text in rules.values())]
    memory = Memory()
    first = filter_quality(batch_of(texts), presets=ALL, memory=memory).to_pylist()
    filter_quality(batch_of(["other words entirely " * 50]), presets=ALL, memory=memory)
    assert filter_quality(batch_of(texts[::-1]), presets=ALL, memory=memory)["rule"].to_pylist()[::-1] == [
        row["rule"] for row in first
    ]


def test_unknown_preset_is_refused():
    """A misspelt preset is a ValueError that names the nearest one, also at construction."""
    with pytest.raises(ValueError, match="'gopher-qualty' is not known; the nearest is 'gopher-quality'"):
        chosen_presets(["fineweb", "gopher-qualty"])
    with pytest.raises(ValueError, match="'c4'"):
        FilterQuality(presets=("c4",))


def test_rejected_rows_stay():
    """A row with a rule is not looked at: neither its rule nor its text changes."""
    out = filter_quality(batch_of(["a\nb", GOOD + "\nx"], ["language", None]), presets=["c4-fineweb"])
    assert out.column("rule").to_pylist() == ["language", None]
    assert out.column("text").to_pylist() == ["a\nb", GOOD]
    assert out.select(IN_FLIGHT.names).schema == IN_FLIGHT


def test_slices_and_empty_batches():
    """A slice of a batch gives the same rows as the batch; a batch without rows gives one."""
    whole = batch_of([GOOD, "short", GOOD + "\nx y", "{ } x"])
    expected = filter_quality(whole, presets=ALL).to_pylist()
    assert filter_quality(whole.slice(1, 2), presets=ALL).to_pylist() == expected[1:3]
    assert filter_quality(whole.slice(0, 0), presets=ALL).num_rows == 0


def test_transform_keeps_keys_and_counts():
    """The step in a graph hands on each key with its batch, typed; lines cut are counted beside the rows."""
    key = BatchKey("u", 0, "k", 0, 2, last=True)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        batches = pipeline | beam.Create([(key, batch_of([GOOD + "\nx\nwe use cookies", "short"]))])
        out = batches | EachBatch(function=FilterQuality(presets=("c4-fineweb", "gopher-quality")))
        assert out.element_type == beam.typehints.Tuple[BatchKey, pa.RecordBatch]

        def check(elements):
            [(out_key, batch)] = elements
            assert out_key == key
            assert batch.column("rule").to_pylist() == [None, "too_few_sentences"]
            assert batch.column("text").to_pylist() == [GOOD, "short"]
            assert {name: column.to_pylist() for name, column in edit_columns(batch).items()} == {
                "lines.too_long_word": [0, 0],
                "lines.too_few_words": [1, 1],
                "lines.javascript": [0, 0],
                "lines.policy": [1, 0],
                "lines.no_terminal_punc": [0, 0],
            }

        assert_that(out, check)


def test_a_unit_begins_with_what_the_one_before_has_seen():
    """One pipeline after the other uses the same memory of words, which does not grow by the same text."""
    key, batch = BatchKey("u", 0, "k", 0, 2, last=True), batch_of([GOOD + " Zyzzyva.", "short"])
    seen, rows = [], []
    for _ in range(2):
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            step = FilterQuality(presets=("gopher-quality",))
            _ = pipeline | beam.Create([(key, batch)]) | EachBatch(function=step)
        seen.append(_SPARE[-1])
        rows.append(int(_SPARE[-1].lexicon.used[NUM_ROWS]))
    assert seen[0] is seen[1]
    assert rows[0] == rows[1]


TFDS_LINES = [
    ("This line has five words.", "This line has five words."),
    ("It has four words.", None),
    ("Five words with [1] citation.", None),  # words are counted behind the deletion
    ("Six words and [1] one citation.", "Six words and  one citation."),
    ("Is this one a line?", "Is this one a line?"),
    ('She said "it is enough"', 'She said "it is enough"'),
    ("She said 'it is enough'", None),
    ("She said \u201cit is enough.\u201d", None),
    ("This line trails off somewhere...", None),
    ("This one ends with two..", "This one ends with two.."),
    ("a citation behind the end. [1]", None),  # a space is left, which is no end mark
    ("a citation behind the end.[1]", "a citation behind the end."),
    ("please turn on the Javascript.", None),
    ("these are the Terms of Use.", None),
    ("javascript and { in one line.", None),
    ("w" * 1001 + " and four words more.", None),
    ("lorem ipsum without an end", None),
    ("{ lorem ipsum.", None),
]


def test_c4_of_tfds_cuts_lines():
    """Each line rule of TFDS on a line made for it, between lines that stay."""
    for line, kept in TFDS_LINES:
        text = "\n".join([*LINES[:5], line, LINES[5]])
        expected = "\n".join([*LINES[:5], *([] if kept is None else [kept]), LINES[5]])
        assert verdicts([text], ["c4-tfds"]) == [(None, None, expected)], line
        assert_like_twin([text], ["c4-tfds"])


def cuts(text, choice):
    """The lines cut from a text, by rule."""
    out = filter_quality(batch_of([text]), presets=[choice], memory=MEMORY)
    return {
        name.removeprefix("lines."): column[0].as_py()
        for name, column in edit_columns(out).items()
        if column[0].as_py()
    }


def test_lines_cut_are_counted_by_rule():
    """Every reason to cut a line has its own count, and the first that applies has it."""
    assert cuts("\n".join([*LINES, *(line for line, _ in TFDS_LINES)]), "c4-tfds") == {
        "too_long_word": 1, "no_endmark": 5, "too_short": 3, "javascript": 2, "policy": 1,
    }  # fmt: skip


def test_end_marks_and_words_of_c4_fineweb_are_parameters():
    """With a number at no_terminal_punc lines need an end mark, which an apostrophe is; too_few_words is one too."""
    choice = Choice(preset="c4-fineweb", thresholds={"no_terminal_punc": 1, "too_few_words": 4})
    text = "\n".join(
        [*LINES, "it has no end mark", "'it really has one'", "trails off again ...", "one two three.", "a b c d."]
    )
    out = filter_quality(batch_of([text]), presets=[choice], memory=MEMORY)
    assert out.column("text").to_pylist() == ["\n".join([*LINES, "'it really has one'", "a b c d."])]
    assert cuts(text, choice) == {"no_terminal_punc": 2, "too_few_words": 1}
    assert cuts(text, Choice(preset="c4-fineweb", thresholds={"too_few_words": None})) == {}


def test_thresholds_of_ones_own():
    """A threshold of a choice decides and is told; null disables a rule; an unknown rule is refused."""
    text = " ".join(WORDS[:40])
    choice = Choice(preset="gopher-quality", thresholds={"gopher_short_doc": 41})
    out = filter_quality(batch_of([text]), presets=[choice], memory=MEMORY)
    assert [out.column(name)[0].as_py() for name in ("rule", "value", "threshold")] == ["gopher_short_doc", 40, 41]
    choice = Choice(preset="gopher-quality", thresholds={"gopher_short_doc": None, "gopher_enough_stop_words": None})
    assert filter_quality(batch_of([text]), presets=[choice]).column("rule").to_pylist() == [None]
    with pytest.raises(
        ValueError, match="gopher-quality has no rule 'gopher_short'; the nearest is 'gopher_short_doc'"
    ):
        chosen_presets([Choice(preset="gopher-quality", thresholds={"gopher_short": 1})])


FRENCH = language_values(
    {
        "dup_line_frac": 0, "top_n_grams": [[2, 0.161], [3, 0.149]], "dup_n_grams": [[5, 0.15]], "line_punct_thr": 0.1,
        "language_score": 0.824, "min_avg_word_length": 0, "stopwords": ["ek", "lorek", "xyz", "milo."],
    }
)  # fmt: skip


def in_language(texts, language, score=0.9):
    batch = batch_of(texts)
    rows = [{**row, "language": language, "language_score": score} for row in batch.to_pylist()]
    return pa.RecordBatch.from_pylist(rows, schema=IN_FLIGHT)


def test_fineweb2_has_values_for_each_language():
    """Thresholds, stop words and the least score are those of the language's file; others keep the defaults."""
    choice = Choice(preset="fineweb2", languages={"fr": FRENCH, "nl": LanguageValues({"gopher_short_doc": 9999.0})})
    parts = chosen_presets([choice])
    assert math.isnan(parts[0].languages["fr"].thresholds["dup_line_frac"])
    one, both = GOOD, GOOD.replace(WORDS[5], "xyz")

    def rules(texts, *language):
        out = filter_quality(in_language(texts, *language), presets=[choice], memory=MEMORY)
        return list(zip(*(out.column(name).to_pylist() for name in ("rule", "value", "threshold")), strict=True))

    passed = (None, None, None)
    assert rules([one, both], "fr") == [("gopher_enough_stop_words", 1, 2), passed]
    assert rules([one], "fr-be") == rules([one], "fr_Latn") == [("gopher_enough_stop_words", 1, 2)]
    assert rules([one], "de") == rules([one], None, None) == [passed]
    assert rules([one], "nl") == [("gopher_short_doc", 120, 9999)]
    assert rules([both], "fr", 0.8235) == [("language", pytest.approx(0.8235), 0.824)]
    with pytest.raises(ValueError, match="unknown value 'stop_words'; the nearest is 'stopwords'"):
        language_values({"stop_words": []})
    with pytest.raises(ValueError, match="top_n_grams: 3 is not what"):
        language_values({"top_n_grams": 3})


def test_words_by_character():
    """A Chinese or Thai character is a word with the marks behind it; Latin words between them stay whole."""
    text = "\u6211\u5011\u7528Gristmill\u8655\u7406\u6587\u672c\u3002 \u0e01\u0e48\u0e32\u0e01\u0e32 don't \u30ab\u3099"
    assert twin.by_character(text.split(maxsplit=1)[0])[2:5] == ["\u7528", "Gristmill", "\u8655"]
    for words, count in (("english", 5), ("character", 15)):
        choice = Choice(preset="gopher-quality", words=words)
        out = filter_quality(batch_of([text]), presets=[choice], memory=MEMORY)
        assert out.column("value").to_pylist() == [count]
    assert [t for chunk in text.split() for t in twin.by_character(chunk)] == [
        "\u6211", "\u5011", "\u7528", "Gristmill", "\u8655", "\u7406", "\u6587", "\u672c", "\u3002", "\u0e01\u0e48",
        "\u0e32", "\u0e01", "\u0e32", "do", "n't", "\u30ab\u3099",
    ]  # fmt: skip


@given(TEXTS)
@example("\r\n\r")  # a carriage return is a character of a part between line feeds, also where it ends a line
@example("a\r\na\r")
@example("a\r\r\n\r\r\na\r\r")
@example("x\ry\r\nx\ry\r")
@settings(max_examples=150, deadline=None)
def test_statistics_equal_twin(text):
    """Every statistic is the value that the rule of its name measures, and null where that rule has none."""
    out = filter_quality(batch_of([text]), keep_statistics=True, memory=MEMORY)
    found = {name: out.column(STATISTIC + name)[0].as_py() for name in STATISTICS}
    expected = {"characters": len(text), "lines": len(text.splitlines()), "tokens": len(twin.tokens(text))}
    values = {}
    for preset in ("gopher-quality", "gopher-repetition", "fineweb", "mc4-paragraph"):
        values |= twin.measured(text, preset)[0]
    names = ["words", "mean_word_length", "hash_ratio", "ellipsis_ratio", "bullet_line_ratio", "ellipsis_line_ratio",
             "alpha_ratio", "stop_words"]  # fmt: skip
    rules = [name for name, _ in PRESETS["gopher-quality"].rules[1:2] + PRESETS["gopher-quality"].rules[3:]]
    expected |= {name: values.get(rule) for name, rule in zip(names, rules, strict=True)}
    expected["third_longest_line"] = values["paragraph_filter"]
    for name in STATISTICS:
        value = expected.get(name, values.get(name))
        if name.startswith("top_") and value is None and text:
            value = 0.0  # fewer tokens than n: nothing is repeated
        assert found[name] == (None if value is None else pytest.approx(value)), name
    assert out.column("rule").to_pylist() == [None]


def test_rules_on_statistics_come_first():
    """A document that fails a rule of one's own and a preset is rejected by the former, with name, value, threshold."""
    rules = (
        ThresholdRule(statistic="mean_word_length", min=3, max=10, name="odd_words"),
        ThresholdRule(statistic="words", max=150),
        ThresholdRule(statistic="language_score", min=0.5),
    )
    texts = ["a be " * 40, GOOD, GOOD + GOOD, "", GOOD + "\nx"]
    out = filter_quality(batch_of(texts), presets=["c4-fineweb"], rules=rules, memory=MEMORY)
    found = list(zip(*(out.column(name).to_pylist() for name in ("rule", "value", "threshold")), strict=True))
    assert found[0] == ("odd_words", 1.5, 3)
    assert found[1] == found[4] == (None, None, None)
    assert found[2] == ("words", 240, 150)
    assert found[3][0] == "too_few_sentences"
    assert out.column("text").to_pylist() == [*texts[:4], GOOD]
    low = filter_quality(in_language([GOOD], "en", 0.25), rules=rules[2:])
    assert [low.column(name)[0].as_py() for name in ("rule", "value", "threshold")] == ["language_score", 0.25, 0.5]
    with pytest.raises(ValueError, match="statistic 'mean_word' is not known; the nearest is 'mean_word_length'"):
        FilterQuality(rules=(ThresholdRule(statistic="mean_word", min=1),))
    with pytest.raises(ValueError, match="neither min nor max"):
        FilterQuality(rules=(ThresholdRule(statistic="words"),))


def test_statistics_are_those_of_the_text_as_it_came():
    """They are measured before C4 cuts lines, null where a row was rejected before, and the same without presets."""
    batch = batch_of([GOOD + "\nx", GOOD, "short"], [None, "language", None])
    out = filter_quality(batch, presets=["c4-fineweb", "fineweb2"], keep_statistics=True, memory=MEMORY)
    assert out.column(STATISTIC + "lines").to_pylist() == [11, None, 1]
    alone = filter_quality(batch, keep_statistics=True)
    for name in STATISTICS:
        assert out.column(STATISTIC + name) == alone.column(STATISTIC + name)


def test_presets_that_count_words_differently_share_a_chain():
    """A row that fails fineweb2 behind c4-fineweb keeps the text that it came with."""
    bad = GOOD.replace(".", ";") + "\nx"
    out = filter_quality(batch_of([GOOD + "\nx", bad]), presets=["c4-fineweb", "fineweb2", "gopher-quality"])
    assert out.column("rule").to_pylist() == [None, "line_punct_ratio"]
    assert out.column("text").to_pylist() == [GOOD, bad]
