"""transforms.quality: batches in, batches out, beside the slow twin."""

import math

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import quality as twin
from tests.transforms.batches import batch_of
from transforms.batch import BatchKey
from transforms.kernels.lexicon import NUM_ROWS
from transforms.kernels.room import new_room
from transforms.quality import PRESETS, FilterQuality, Memory, chosen_presets, filter_quality
from transforms.schema import IN_FLIGHT

ALL = ("gopher-repetition", "gopher-quality", "c4-fineweb", "fineweb")
THRESHOLDS = {name: dict(preset.rules) for name, preset in PRESETS.items()}
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
        "\u4e2d\u6587", "e.g. ", "don't ", "a.[2]B", "x" * 1001, "1 2 3 4 5 ",
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
        values, _ = twin.measured(text, preset)
        for name, value in values.items():
            if value is None or any(v is None for v in values.values()):
                continue
            assert measure(text, preset, name) == pytest.approx(value), (preset, name)
        assert set(values) <= set(rules)


def measure(text, preset, rule):
    """The value of one rule: every other rule is disabled, and this one has a threshold that everything fails."""
    from unittest.mock import patch

    worst = float("inf") if rule in twin.AT_LEAST else -1.0
    rules = tuple((name, worst if name == rule else float("nan")) for name, _ in PRESETS[preset].rules)
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
    assert out.schema == IN_FLIGHT


def test_slices_and_empty_batches():
    """A slice of a batch gives the same rows as the batch; a batch without rows gives one."""
    whole = batch_of([GOOD, "short", GOOD + "\nx y", "{ } x"])
    expected = filter_quality(whole, presets=ALL).to_pylist()
    assert filter_quality(whole.slice(1, 2), presets=ALL).to_pylist() == expected[1:3]
    assert filter_quality(whole.slice(0, 0), presets=ALL).num_rows == 0


def test_transform_keeps_keys_and_counts():
    """The PTransform hands on each key with its batch, typed, and counts documents rejected and lines cut."""
    key = BatchKey("u", 0, "k", 0, 2, last=True)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    batches = pipeline | beam.Create([(key, batch_of([GOOD + "\nx\nwe use cookies", "short"]))])
    out = batches | FilterQuality(presets=("c4-fineweb", "gopher-quality"))
    assert out.element_type == beam.typehints.Tuple[BatchKey, pa.RecordBatch]

    def check(elements):
        [(out_key, batch)] = elements
        assert out_key == key
        assert batch.column("rule").to_pylist() == [None, "too_few_sentences"]
        assert batch.column("text").to_pylist() == [GOOD, "short"]

    assert_that(out, check)
    result = pipeline.run()
    result.wait_until_finish()
    counters = {
        counter.key.metric.name: counter.committed
        for counter in result.metrics().query(beam.metrics.MetricsFilter().with_namespace("quality"))["counters"]
    }
    assert counters == {
        "rejected": 1,
        "lines_too_long_word": 0,
        "lines_too_few_words": 2,
        "lines_javascript": 0,
        "lines_policy": 1,
    }
