"""Counting the words of texts: the words of the library, however the texts are cut and the tables grow."""

import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpora import read_jsonl
from tests.reference.word_counts import word_counts
from transforms.word_counts import WORD_COUNTS, WordCounter, WordTable, merged

SETTINGS = [(model, fold) for model in ("wordpiece", "bpe", "unigram") for fold in (False, True)]
# Marks that are reordered, compatibility forms that expand, white space of all kinds, what BERT isolates or removes.
AWKWARD = (
    "\u0301\u0316\u1b44\U0001d16d\ufb03\u2026\uff0c\u3000\xa0\x85\x1c\u200b\xad\ufffd"
    "\u4e2d\uac00\u1100\u0130\xdf\ufdfa'#."
)
TEXTS = st.lists(
    st.text(st.one_of(st.sampled_from("aBc 'st\n19" + AWKWARD), st.characters(exclude_categories=["Cs"])), max_size=40),
    max_size=6,
)


def counted(batch):
    assert batch.schema == WORD_COUNTS
    words = batch.column("word").to_pylist()
    assert len(set(words)) == len(words)
    return dict(zip(words, batch.column("count").to_pylist(), strict=True))


@pytest.mark.parametrize(("model", "lowercase"), SETTINGS)
@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, data=st.data())
def test_words_are_those_of_the_library(model, lowercase, texts, data):
    """Texts of any characters, read up to three times, one after the other by one counter."""
    copies = data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    counter = WordCounter(model, lowercase=lowercase)
    for half in (slice(0, len(texts) // 2), slice(len(texts) // 2, None)):
        counter.add(pa.array(texts, pa.string())[half], np.array(copies[half], np.int64))
    assert counted(counter.take()) == word_counts(texts, copies, model, lowercase=lowercase)
    counter.add(pa.array(["again"]), np.array([2]))
    assert counted(counter.take()) == {"again": 2}


@pytest.mark.parametrize(("model", "lowercase"), SETTINGS)
def test_every_character_beside_letters(model, lowercase):
    """All of Unicode, sixteen characters a text, so that few of them are left to the library."""
    codes = [code for code in range(0x30000) if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) != "Cn"]
    codes = codes[:: 40 if model == "bpe" else 20]
    texts = ["".join(f"a{chr(code)}b " for code in codes[start : start + 16]) for start in range(0, len(codes), 16)]
    counter = WordCounter(model, lowercase=lowercase)
    counter.add(pa.array(texts), np.ones(len(texts), np.int64))
    assert counted(counter.take()) == word_counts(texts, [1] * len(texts), model, lowercase=lowercase)


@pytest.mark.parametrize(("model", "lowercase"), SETTINGS)
def test_long_words_and_many(model, lowercase):
    """Words longer than their room, expanded ones too, and more than a table begins with, then a character to ask."""
    words = [f"w{number:x}".translate(str.maketrans("0123456789", "ghijklmnop")) for number in range(60_000)]
    texts = [
        " ".join(words),
        "x" * 9000 + "\ufb03" * 4000 + " " + "\u4e2d" * 3000 + "\U0001d16d\u1b44",
        " ".join(words[:9]),
    ]
    counter = WordCounter(model, lowercase=lowercase)
    counter.add(pa.array(texts), np.array([1, 2, 1]))
    assert counter.num_words > 59_000
    assert counted(counter.take()) == word_counts(texts, [1, 2, 1], model, lowercase=lowercase)


@pytest.mark.parametrize(("model", "lowercase"), SETTINGS)
def test_real_text(shared_data, model, lowercase):
    """The words of a handbook in scripts that normalise, join or part words in their own ways."""
    for name in ("zh-TW", "ja-JP", "ko-KR", "ar-MA", "tr-TR", "vi-VN", "el-GR"):
        texts = [row["text"] for row in read_jsonl(shared_data / "text" / "debian-handbook" / f"{name}.jsonl.zst")]
        counter = WordCounter(model, lowercase=lowercase)
        counter.add(pa.array(texts), np.ones(len(texts), np.int64))
        assert counted(counter.take()) == word_counts(texts, [1] * len(texts), model, lowercase=lowercase)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.text(max_size=20), st.integers(-3, 9)), max_size=30), st.integers(0, 30))
def test_a_table_of_words(rows, cut):
    """Counts add up, and words are in the order in which they came; the empty word is one."""
    table = WordTable()
    expected: Counter[str] = Counter()
    for part in (rows[:cut], rows[cut:]):
        table.add(pa.array([word for word, _ in part], pa.string()), np.array([count for _, count in part], np.int64))
    for word, count in rows:
        expected[word] += count
    words = table.words()
    content = words.bytes_A.tobytes()
    spelled = [content[a:b].decode() for a, b in zip(words.offset_W1, words.offset_W1[1:], strict=False)]
    assert dict(zip(spelled, words.count_W.tolist(), strict=True)) == dict(expected)
    assert spelled == list(expected)


def test_merged_tables():
    """Words of several tables, some in both, more than there is room for at first."""
    first = {f"word {number}": number + 1 for number in range(70_000)}
    second = {f"word {number}": 5 for number in range(69_000, 130_000)}
    parts = [
        pa.record_batch([pa.array(list(part)), pa.array(list(part.values()))], schema=WORD_COUNTS)
        for part in (first, second)
    ]
    words = merged(parts)
    assert words.count_W.tolist() == list((Counter(first) + Counter(second)).values())
    assert merged([]).count_W.tolist() == []
