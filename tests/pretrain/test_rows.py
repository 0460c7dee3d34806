"""Rows of shards: what is read, and what is refused."""

import json

import numpy as np
import pytest

from pipeline.pretrain.rows import Rows
from tests.pretrain.shards import IDS, MAX_PIECES, SEQ_LENGTH, make_pairs, make_rows, write_pairs, write_split


def _in_order(rows, num_files):
    return [row for number in range(num_files) for row in rows[number::num_files]]


@pytest.mark.parametrize("num_files", [1, 3])
def test_rows_come_back_as_written(tmp_path, num_files):
    """Any row of any file and record batch reads as its pieces, padded."""
    written = make_rows(31, 5)
    write_split(tmp_path / "train", written, num_files=num_files)
    rows = Rows(tmp_path / "train")
    assert len(rows) == 31
    assert rows.num_tokens == sum(len(piece) for row in written for piece in row)
    expected = _in_order(written, num_files)
    order = np.array([30, 0, 7, 7, 15])
    ids_BS, lengths_BP, types_BS, next_B = rows.read(order)
    assert types_BS is None
    assert next_B is None
    assert ids_BS.shape == (5, SEQ_LENGTH)
    assert lengths_BP.shape == (5, MAX_PIECES)
    for index, row in enumerate(order.tolist()):
        tokens = [token for piece in expected[row] for token in piece]
        assert ids_BS[index].tolist() == tokens + [0] * (SEQ_LENGTH - len(tokens))
        assert [length for length in lengths_BP[index].tolist() if length] == [len(piece) for piece in expected[row]]


def test_pairs_come_back_as_written(tmp_path):
    """A sentence pair is one document with token types and a label."""
    pairs = make_pairs(9, 0)
    write_pairs(tmp_path / "train", pairs)
    rows = Rows(tmp_path / "train")
    assert rows.are_pairs
    batch = rows.read(np.array([8, 2]))
    for index, (first, second, label) in enumerate((pairs[8], pairs[2])):
        total = len(first) + len(second)
        assert batch.ids_BS[index].tolist() == first + second + [0] * (SEQ_LENGTH - total)
        assert batch.types_BS[index].tolist() == [0] * len(first) + [1] * len(second) + [0] * (SEQ_LENGTH - total)
        assert batch.lengths_BP[index].tolist() == [total]
        assert batch.next_B[index] == label


def test_token_counts(tmp_path):
    """Counts are those of all tokens."""
    written = make_rows(31, 5)
    write_split(tmp_path / "train", written)
    flat = [token for row in written for piece in row for token in piece]
    counts = Rows(tmp_path / "train").token_counts()
    assert counts.tolist() == np.bincount(flat, minlength=len(IDS)).tolist()


def test_empty_split(tmp_path):
    """A split without rows opens and has none."""
    write_split(tmp_path / "validation", [], num_files=1)
    assert len(Rows(tmp_path / "validation")) == 0


def test_disagreeing_files_are_refused(tmp_path):
    """A shard of another tokenizer among the files is refused."""
    write_split(tmp_path / "train", make_rows(8, 0))
    write_split(tmp_path / "other", make_rows(8, 0), tokenizer_hash="ffff")
    name = "data-00001-of-00002.arrow"
    (tmp_path / "other" / name).replace(tmp_path / "train" / name)
    with pytest.raises(ValueError, match="ffff"):
        Rows(tmp_path / "train")


def test_most_pieces_of_any_file(tmp_path):
    """Each file states the most pieces of its own rows; the widest decides the shape of every batch."""
    write_split(tmp_path / "train", [[[2, 5, 3]]] * 4, max_pieces=1)
    write_split(tmp_path / "other", [[[2, 5, 3]] * 3] * 4, max_pieces=3)
    name = "data-00001-of-00002.arrow"
    (tmp_path / "other" / name).replace(tmp_path / "train" / name)
    rows = Rows(tmp_path / "train")
    assert rows.read(np.array([0])).lengths_BP.tolist() == [[3, 0, 0]]
    assert rows.read(np.array([3])).lengths_BP.tolist() == [[3, 3, 3]]


def test_missing_and_cut_files_are_refused(tmp_path):
    """A missing file, a stream cut at a message, garbage, and an empty directory are each refused in one line."""
    directory = tmp_path / "train"
    write_split(directory, make_rows(8, 0))
    name = directory / "data-00001-of-00002.arrow"
    whole = name.read_bytes()
    name.unlink()
    with pytest.raises(ValueError, match="lists 2 shards, found 1"):
        Rows(directory)
    name.write_bytes(whole)
    Rows(directory)
    info = json.loads((directory / "dataset_info.json").read_text())
    info["splits"]["train"]["num_examples"] = 9
    (directory / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="8 rows, but 9 were written"):
        Rows(directory)
    name.write_bytes(b"garbage" * 100)
    with pytest.raises(ValueError, match="not a readable shard"):
        Rows(directory)
    with pytest.raises(ValueError, match="run tokenize first"):
        Rows(tmp_path / "nothing")


def test_row_beyond_its_metadata_is_refused(tmp_path):
    """A row with more pieces than the metadata allows is refused when read."""
    write_split(tmp_path / "train", [[[2, 5, 3]] * 3], num_files=1, max_pieces=2)
    with pytest.raises(ValueError, match="row 0 of record batch 0 has 9 tokens in 3 pieces"):
        Rows(tmp_path / "train").read(np.array([0]))


def test_rotten_ids_are_refused(tmp_path):
    """An id outside of the vocabulary is told with its row; the rows beside it can be read."""
    written = [[[2, 5, 3]], [[2, len(IDS), 3]], [[2, 6, 3]]]
    write_split(tmp_path / "train", written, num_files=1)
    rows = Rows(tmp_path / "train")
    with pytest.raises(ValueError, match=f"row 0 of record batch 1 has an id outside of the {len(IDS)} of its"):
        rows.read(np.array([0, 2, 1]))
    assert rows.read(np.array([0, 2])).ids_BS[:, 1].tolist() == [5, 6]
    assert rows.token_counts().sum() == 8  # at the end of a run, which has not met that row
    (tmp_path / "train" / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json: not readable as JSON"):
        Rows(tmp_path / "train")


def test_tokenizer_without_mask_is_refused(tmp_path):
    """Shards of a tokenizer without [MASK] cannot be trained on."""
    write_split(tmp_path / "train", make_rows(4, 0), special_ids={"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": None})
    with pytest.raises(ValueError, match="no mask token"):
        Rows(tmp_path / "train")
