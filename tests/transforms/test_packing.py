"""Packing a table of tokens into the rows of a shard."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.packing import pack
from transforms.schema import tokens_schema
from transforms.tokenizer import SpecialIds

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
METHODS = pytest.mark.parametrize("packing", ["best_fit", "concat", "none"])


def tokens_table(documents, vocab_size=30522, chunks=1):
    """A `tokens/` table of lists of ids, in several batches; doc_ids are 100, 101, ..."""
    batches = [
        pa.RecordBatch.from_pylist(
            [{"doc_id": 100 + i, "content_hash": i * 2**40, "ids": documents[i]} for i in part.tolist()],
            schema=tokens_schema(vocab_size, {}),
        )
        for part in np.array_split(np.arange(len(documents)), chunks)
    ]
    return pa.Table.from_batches(batches)


def pack_documents(documents, *, chunks=1, keep_N=None, **options):
    settings = {"seq_length": 16, "packing": "best_fit", "special_ids": SPECIAL, "vocab_size": 30522, "seed": 0}
    return pack(tokens_table(documents, chunks=chunks), keep_N=keep_N, **settings | options)


def pieces_of(rows):
    """Every piece of every row: document, start, ids with special tokens."""
    for row in rows.to_pylist():
        start = 0
        for length, doc_id, piece_start in zip(
            row["document_lengths"], row["doc_ids"], row["piece_starts"], strict=True
        ):
            yield doc_id - 100, piece_start, row["input_ids"][start : start + length]
            start += length
        assert start == len(row["input_ids"])


@METHODS
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(5, 30521), max_size=50), max_size=20),
    st.integers(8, 40),
    st.integers(1, 4),
    st.integers(0, 5),
)
def test_every_token_of_every_document_comes_once(packing, documents, seq_length, chunks, seed):
    """Pieces between [CLS] and [SEP] tile each document, rows fit, and the counts tell the truth."""
    rows, counts = pack_documents(documents, seq_length=seq_length, packing=packing, chunks=chunks, seed=seed)
    rows.validate(full=True)
    found = {i: [] for i in range(len(documents))}
    for document, start, ids in sorted(pieces_of(rows)):
        assert ids[0] == SPECIAL.cls
        assert ids[-1] == SPECIAL.sep
        assert start == len(found[document])
        found[document] += ids[1:-1]
    assert found == dict(enumerate(documents))
    lengths = [len(row) for row in rows["input_ids"].to_pylist()]
    assert all(3 <= length <= seq_length for length in lengths)
    pieces = Counter(document for document, _, _ in pieces_of(rows))
    assert counts.documents == len(documents)
    assert counts.empty == sum(not document for document in documents)
    assert counts.cut == sum(num > 1 for num in pieces.values())
    assert counts.tokens == sum(map(len, documents))
    assert (counts.rows, counts.row_tokens, counts.pieces) == (len(lengths), sum(lengths), pieces.total())
    assert counts.max_pieces == max(map(len, rows["doc_ids"].to_pylist()), default=0)
    if packing != "concat":
        assert counts.cut == sum(len(document) > seq_length - 2 for document in documents)


@METHODS
def test_rows_depend_on_documents_and_seed_only(packing):
    """Equal for any division of the table into batches, other for another seed, and rows are not in document order."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(5, 999, n).tolist() for n in rng.integers(0, 40, 200)]
    rows, _ = pack_documents(documents, packing=packing)
    assert rows.to_pylist() == pack_documents(documents, packing=packing, chunks=7)[0].to_pylist()
    assert rows.to_pylist() != pack_documents(documents, packing=packing, seed=1)[0].to_pylist()
    first_documents = [row[0] for row in rows["doc_ids"].to_pylist()]
    rises = np.mean(np.diff(first_documents) > 0)
    assert 0.4 < rises < 0.6


def test_the_place_in_a_row_does_not_tell_the_length():
    """First and last pieces of a row are equally long on average; best-fit-decreasing as it comes puts long first."""
    rng = np.random.default_rng(0)
    documents = [[7] * n for n in rng.integers(1, 60, 2000)]
    rows, _ = pack_documents(documents, seq_length=128)
    lengths = [row for row in rows["document_lengths"].to_pylist() if len(row) > 1]
    first, last = np.mean([row[0] for row in lengths]), np.mean([row[-1] for row in lengths])
    assert abs(first - last) < 0.15 * first


def test_kept_documents_and_slices():
    """Only documents of the mask are packed, also from a table that starts in the middle of its buffers."""
    documents = [[10 + i] * (i % 5) for i in range(40)]
    keep_N = np.arange(30) % 3 == 0
    table = tokens_table(documents, chunks=3).slice(10)
    rows, counts = pack(
        table, keep_N=keep_N, seq_length=12, packing="best_fit", special_ids=SPECIAL, vocab_size=30522, seed=0
    )
    kept = [10 + i for i in np.flatnonzero(keep_N).tolist()]
    assert {document: ids[1:-1] for document, _, ids in pieces_of(rows)} == {i: documents[i] for i in kept if i % 5}
    assert (counts.documents, counts.empty) == (10, 2)


def test_large_vocabulary_is_uint32():
    """Ids above 65535 survive, and the type says so."""
    table = tokens_table([[70_000, 80_000]], vocab_size=100_000)
    rows, _ = pack(table, seq_length=8, packing="none", special_ids=SPECIAL, vocab_size=100_000, seed=0)
    assert rows.schema.field("input_ids").type == pa.list_(pa.uint32())
    assert rows["input_ids"].to_pylist() == [[2, 70_000, 80_000, 3]]


def test_no_documents():
    """An empty table packs into no rows with the columns of a shard."""
    rows, counts = pack_documents([])
    assert (rows.num_rows, rows.column_names[0], set(counts)) == (0, "input_ids", {0})


@pytest.mark.parametrize(("option", "value"), [("seq_length", 7), ("packing", "first_fit")])
def test_mistakes_name_their_value(option, value):
    """A user's mistake is one line with the value in it."""
    with pytest.raises(ValueError, match=str(value)):
        pack_documents([[5, 6]], **{option: value})
