"""Kernel and twin of transforms.kernels.language side by side, and both beside langdetect."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langdetect import DetectorFactory, detect

from tests.reference import language as twin
from transforms.detector import open_detector
from transforms.kernels.language import WIDTH, identify
from transforms.kernels.profiles import langdetect_model
from transforms.kernels.strings import string_views

TEXTS = {
    "en": "The quick brown fox jumps over the lazy dog, and then it goes home to its family.",
    "de": "Der schnelle braune Fuchs springt \xfcber den faulen Hund und geht dann nach Hause.",
    "fr": "Le renard brun saute par-dessus le chien paresseux, puis il rentre \xe0 la maison.",
    "ru": "\u0411\u044b\u0441\u0442\u0440\u0430\u044f \u043b\u0438\u0441\u0430 "
    "\u043f\u0440\u044b\u0433\u0430\u0435\u0442 "
    "\u0447\u0435\u0440\u0435\u0437 \u043b\u0435\u043d\u0438\u0432\u0443\u044e \u0441\u043e\u0431\u0430\u043a\u0443.",
    "zh-cn": "\u8fd9\u662f\u4e00\u4e2a\u4e2d\u6587\u53e5\u5b50\uff0c\u6211\u4eec\u7528\u5b83\u6765"
    "\u6d4b\u8bd5\u8bed\u8a00\u8bc6\u522b\u3002",
    "ja": "\u3053\u308c\u306f\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u3059\u3002\u8a00\u8a9e"
    "\u3092\u8abf\u3079\u307e\u3059\u3002",
    "ko": "\uc774\uac83\uc740 \ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4.",
}  # fmt: skip


def posteriors_with_kernel(texts):
    """One dict label -> score a text; the kernel is asked for one kept language at a time."""
    model = langdetect_model()
    offsets_N1, bytes_M = string_views(pa.array(texts, pa.string()))
    language_N = np.full(len(texts), 99, np.int16)
    score_N, kept_N = np.full(len(texts), -1, np.float32), np.full(len(texts), -1, np.float32)
    second_N, share_N = np.full(len(texts), 99, np.int16), np.full(len(texts), -1, np.float32)
    found = [{} for _ in texts]
    for number, label in enumerate(model.labels):
        kept_L = np.arange(WIDTH) == number
        skip_N = np.zeros(len(texts), np.bool_)
        tables = (*model[1:], kept_L)
        identify(offsets_N1, bytes_M, skip_N, *tables, language_N, score_N, kept_N, second_N, share_N)
        for n in range(len(texts)):
            if language_N[n] >= 0:
                found[n][label] = float(kept_N[n])
    for n, scores in enumerate(found):
        assert (language_N[n] < 0) == (not scores)
        if scores:
            assert max(scores, key=scores.get) == model.labels[language_N[n]]
            assert max(scores.values()) == score_N[n]
        assert (second_N[n] >= 0) == (bool(scores) and len(twin.windows(texts[n])) > 1)
        if second_N[n] >= 0:
            assert share_N[n] == scores[model.labels[second_N[n]]] == sorted(scores.values())[-2]
    return found


@pytest.fixture(params=["kernel", "twin"])
def posteriors(request):
    return posteriors_with_kernel if request.param == "kernel" else lambda texts: [twin.posteriors(t) for t in texts]


def test_plain_sentences(posteriors):
    """One sentence in each script is recognised with near certainty."""
    for label, scores in zip(TEXTS, posteriors(list(TEXTS.values())), strict=True):
        assert scores[label] > 0.99


def test_nothing_to_go_by(posteriors):
    """No letters, no label: empty text, digits, punctuation, an address, a script of no profile."""
    assert posteriors(["", "12 345.-!", "https://example.com/", "a.b@example.com", "\u13a0\u13a1\u13a2"]) == [{}] * 5


def test_half_and_half(posteriors):
    """A long text of two languages scores about one half for each."""
    [scores] = posteriors([TEXTS["en"] * 20 + "\n" + TEXTS["de"] * 20])
    assert scores["en"] == pytest.approx(0.5, abs=0.1)
    assert scores["de"] == pytest.approx(0.5, abs=0.1)


def test_long_documents_are_sampled_throughout(posteriors):
    """Of a hundred kilobytes the windows see the beginning, the middle and the end."""
    [scores] = posteriors([TEXTS["fr"] * 300 + TEXTS["ru"] * 170 + TEXTS["de"] * 300])
    assert min(scores["fr"], scores["ru"], scores["de"]) > 0.1


def test_latin_words_in_other_scripts_do_not_count(posteriors):
    """Latin letters are left out where others are more than a third of them, and count where they are not."""
    few = "\u043d\u0430 \u043f\u043e\u043b\u0435"
    without, with_few, with_many = posteriors([few + " ", few + " usb update", few + " usb update as of right now"])
    assert with_few == pytest.approx(without, abs=1e-3)
    assert with_many != pytest.approx(without, abs=1e-3)


def test_rules_of_a_table_say_nothing(posteriors):
    """Box drawing between words leaves the scores of the words, though the profiles have n-grams of it."""
    table, plain = posteriors(["uno \u2500\u2500\u2500\u2500 due \u2502 tre", "uno      due   tre"])
    assert table == pytest.approx(plain)


def test_korean_has_hangul(posteriors):
    """Rare Chinese characters, of which the Korean profile knows more than the Chinese ones, are not Korean."""
    chinese, korean = posteriors(["\u9650\u5236\u8207\u6a5f\u5236", "\u9650\u5236\uc640 \u6a5f\u5236"])
    assert max(chinese, key=chinese.get) in ("zh-cn", "zh-tw", "ja")
    assert max(korean, key=korean.get) == "ko"


PIECES = st.sampled_from(
    [
        *(word for text in TEXTS.values() for word in text.split()),
        "NASA", "USA-wide", "McDonald", "\xa0", "\n\n", "  ", "http://x.de/a?b=c", "https://", "xhttp://q",
        "a_b.c@d-e.org", "@", "@x", "me@a",
        ".@.", "http://a@b", ":", "x:https://q:http://r", "http:", "a@https://x",
        "\u0219\u021b", "\u1ea1", "\u06cc", "\U0001f600", "\U00020001",
        "[x]", "_", "\u3001", "\u00ab", "\u2500\u2500", "\u20ac",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=60), st.sampled_from(["", " "]), st.sampled_from([1, 1, 1, 40]))
@settings(max_examples=100, deadline=None)
def test_identify_equals_twin(pieces, separator, repeats):
    """Kernel and twin agree on every language's score; weights in int16 cost less than two per cent of probability."""
    text = separator.join(pieces) * repeats
    [got], expected = posteriors_with_kernel([text]), twin.posteriors(text)
    assert got.keys() == expected.keys()
    for label, score in expected.items():
        assert got[label] == pytest.approx(score, abs=0.02)


def test_skipped_documents_get_no_language():
    """A document marked as rejected gets neither label nor score."""
    model = langdetect_model()
    language_N = np.zeros(1, np.int16)
    score_N, kept_N, second_N = np.ones(1, np.float32), np.ones(1, np.float32), np.zeros(1, np.int16)
    tables = (*model[1:], np.ones(WIDTH, np.bool_))
    found = (language_N, score_N, kept_N, second_N, np.ones(1, np.float32))
    identify(*string_views(pa.array([TEXTS["en"]])), np.ones(1, np.bool_), *tables, *found)
    assert (language_N[0], score_N[0], kept_N[0], second_N[0]) == (-1, 0.0, 0.0, -1)


def test_same_labels_as_langdetect(shared_data):
    """On sentences of 100 characters or more in its own languages, 99 of 100 labels are langdetect's."""
    from tests.corpora import read_jsonl

    model = langdetect_model()
    rows = [r for r in read_jsonl(shared_data / "lid/lingua-sentences.jsonl.zst") if r["lang"] in model.labels]
    texts = [r["text"] for r in rows if len(r["text"]) >= 100][::17]
    DetectorFactory.seed = 0
    expected = [detect(text) for text in texts]
    found = open_detector(None).scores(pa.array(texts), np.zeros(len(texts), np.bool_), np.zeros(0, np.bool_))
    same = np.mean([model.labels[a] == b for a, b in zip(found.language_N, expected, strict=True)])
    assert len(texts) > 500
    assert same >= 0.99
