"""Sentence pairs: BERT's procedure as its twin does it, and rows that say where their segments come from."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.packing import permutation
from tests.reference.pairs import pairs_of
from tests.transforms.test_packing import SPECIAL
from tests.transforms.test_tokenizer import CORPUS
from transforms.encode import Encoder
from transforms.packing import MIN_SEQ_LENGTH
from transforms.pairs import _PAIR_SALT, pair_up
from transforms.schema import tokens_schema
from transforms.sentences import encode_sentences
from transforms.tokenizer import TrainParameters, train_tokenizer


def sentence_table(documents, doc_ids=None, *, chunks=1):
    """A `tokens/` table of documents that are lists of sentences."""
    rows = [
        {
            "doc_id": number if doc_ids is None else doc_ids[number],
            "content_hash": number,
            "ids": [token for sentence in document for token in sentence],
            "sentence_starts": np.cumsum([0, *map(len, document)])[:-1].tolist(),
        }
        for number, document in enumerate(documents)
    ]
    schema = tokens_schema(30522, {}, sentences=True)
    parts = np.array_split(np.arange(len(rows)), chunks)
    return pa.Table.from_batches(
        [pa.RecordBatch.from_pylist([rows[i] for i in part.tolist()], schema=schema) for part in parts], schema
    )


def pair_documents(documents, doc_ids=None, *, groups=None, keep=None, seq_length=16, seed=0, chunks=1):
    count = len(documents)
    return pair_up(
        sentence_table(documents, doc_ids, chunks=chunks),
        group_N=np.array(groups or [0] * count, np.int64),
        keep_N=np.array([True] * count if keep is None else keep, np.bool_),
        seq_length=seq_length,
        special_ids=SPECIAL,
        vocab_size=30522,
        seed=seed,
    )


def unique_documents(shape):
    """Documents with as many sentences, of as many tokens, as `shape` says, no token twice."""
    token = iter(range(5, 30522))
    return [[[next(token) for _ in range(length)] for length in lengths] for lengths in shape]


SHAPES = st.lists(st.lists(st.integers(1, 12), max_size=8), max_size=8)


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.data(), st.integers(MIN_SEQ_LENGTH, 30), st.integers(0, 2**40), st.integers(1, 3))
def test_rows_are_those_of_the_twin(shape, data, seq_length, seed, chunks):
    """The pairs of BERT's own procedure, each with its label, its documents, and where its segments begin."""
    documents, count = unique_documents(shape), len(shape)
    keep = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    groups = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    doc_ids = data.draw(st.lists(st.integers(10, 14), min_size=count, max_size=count))
    rows, counts, paired = pair_documents(
        documents, doc_ids, groups=groups, keep=keep, seq_length=seq_length, seed=seed, chunks=chunks
    )
    rows.validate(full=True)
    used = [number for number in range(count) if keep[number] and documents[number]]
    order = np.empty(len(used), np.int32)
    permutation(seed, order)
    expected, forced, lost = pairs_of(
        seed ^ _PAIR_SALT, seq_length, [used[place] for place in order], documents, doc_ids, groups
    )
    found = []
    for row in rows.to_pylist():
        first, second = row["document_lengths"]
        ids = row["input_ids"]
        assert ids[0] == SPECIAL.cls
        assert ids[first - 1] == ids[-1] == SPECIAL.sep
        assert len(ids) == first + second <= seq_length
        assert row["token_type_ids"] == [0] * first + [1] * second
        a, b = ids[1 : first - 1], ids[first:-1]
        for segment, doc_id, start in zip((a, b), row["doc_ids"], row["piece_starts"], strict=True):
            flat = next(
                [token for sentence in document for token in sentence]
                for document in documents if any(segment[0] in sentence for sentence in document)
            )  # fmt: skip
            assert flat[start : start + len(segment)] == segment
            assert doc_ids[next(i for i, d in enumerate(documents) if any(segment[0] in s for s in d))] == doc_id
        found.append((a, b, row["next_sentence_label"]))
    assert sorted(found) == sorted((a, b, label) for a, b, label, _, _ in expected)
    assert (paired.forced, paired.alone) == (forced, lost)
    assert paired.random == sum(label for _, _, label, _, _ in expected)
    assert counts.rows == len(expected)
    assert counts.row_tokens == sum(len(a) + len(b) + 3 for a, b, *_ in expected)


def test_half_of_the_pairs_are_random():
    """50% but for chance where every segment has sentences enough, and each row nearly full."""
    rng = np.random.default_rng(0)
    documents = [[[7] * n for n in rng.integers(3, 9, 40).tolist()] for _ in range(300)]
    rows, counts, paired = pair_documents(documents, seq_length=64)
    drawn = counts.rows - paired.forced
    assert abs((paired.random - paired.forced) / drawn - 0.5) < 4 * 0.5 / drawn**0.5
    assert paired.forced < 0.15 * counts.rows  # the ends of documents
    assert paired.alone == 0
    assert 0.75 < counts.row_tokens / counts.rows / 64 <= 1
    labels = rows.column("next_sentence_label").to_pylist()
    assert np.std(np.array(labels[: len(labels) // 2])) > 0.4  # rows are in random order, not label by label


def test_the_second_segment_is_of_the_same_group():
    """Source and language are the group: a random B never comes from another."""
    documents = unique_documents([[3, 4, 5]] * 30)
    groups = [number % 3 for number in range(30)]
    rows, _, paired = pair_documents(documents, groups=groups)
    assert paired.random > 10
    for row in rows.to_pylist():
        a, b = row["doc_ids"]
        assert a % 3 == b % 3
        assert (a == b) == (row["next_sentence_label"] == 0)


def test_a_document_alone_is_never_its_own_stranger():
    """Without another document pairs are continuations, and single sentences are left out and counted."""
    rows, _, paired = pair_documents([[[5, 6], [7, 8], [9]], [[5, 6], [7, 8], [9]]], [3, 3])
    assert set(rows.column("next_sentence_label").to_pylist()) == {0}
    rows, counts, paired = pair_documents([[[5, 6, 7]]])
    assert (rows.num_rows, paired.alone, counts.documents) == (0, 1, 1)


def test_pairs_depend_on_the_seed_alone():
    """Equal seeds give equal rows, another seed other rows, and batches of the input change nothing."""
    documents = unique_documents([[3, 4, 5, 6]] * 20)
    first, again, other = (
        pair_documents(documents, seed=seed, chunks=chunks)[0] for seed, chunks in ((1, 1), (1, 4), (2, 1))
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_short_rows_are_refused():
    """As packing refuses them."""
    with pytest.raises(ValueError, match="7 is too short"):
        pair_documents([[[5]]], seq_length=7)


def test_sentences_encode_to_the_ids_of_the_text():
    """With WordPiece the ids of sentences one by one are those of the whole text, and starts lie between sentences."""
    encoder = Encoder(train_tokenizer(CORPUS, TrainParameters(vocab_size=400)))
    texts = pa.array(["", *CORPUS, " \n ", "One. Two!\n\n\u4e2d\u6587\u3002\u6587 x. Dr. Who?"])
    ids, starts = encode_sentences(texts, encoder)
    assert ids.equals(encoder.encode(texts))
    assert starts.to_pylist()[0] == []
    for tokens, begins in zip(ids.to_pylist(), starts.to_pylist(), strict=True):
        assert begins == sorted(set(begins))
        assert (begins[:1] == [0]) == bool(tokens)
        assert all(begin < len(tokens) for begin in begins)
    assert len(starts.to_pylist()[-1]) == 5
