"""The document id and the verdict columns."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.batches import batch_of
from transforms.schema import (
    IN_FLIGHT,
    MAX_FILES,
    MAX_ORDINALS,
    MAX_PARTS,
    alive_mask,
    doc_ids,
    reject,
    split_doc_id,
    token_type,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, MAX_FILES - 1), st.integers(0, MAX_PARTS - 1), st.integers(0, MAX_ORDINALS - 3))
def test_an_id_is_its_place(file, part, ordinal):
    """File, part and ordinal come back, ids are positive and ordered as records are read."""
    ids = doc_ids(file, part, ordinal, 3)
    assert ids.dtype == np.int64
    assert ids[0] >= 0
    assert [tuple(split_doc_id(int(i))) for i in ids] == [(file, part, ordinal + n) for n in range(3)]
    assert (np.diff(ids) == 1).all()


@pytest.mark.parametrize("place", [(MAX_FILES, 0, 0), (0, MAX_PARTS, 0), (0, 0, MAX_ORDINALS - 1), (-1, 0, 0)])
def test_a_place_that_does_not_fit_is_refused(place):
    """Ids would collide silently otherwise."""
    with pytest.raises(ValueError, match="no document id"):
        doc_ids(*place, 2)


def rows(rules):
    return batch_of([""] * len(rules), rules)


def test_the_first_rule_wins():
    """A row that is dead keeps its rule, value and threshold."""
    batch = reject(rows([None, None, "old"]), "new", where_N=np.array([True, False, True]), value=2, threshold=1.5)
    assert batch.column("rule").to_pylist() == ["new", None, "old"]
    assert batch.column("value").to_pylist() == [2.0, None, None]
    assert batch.column("threshold").to_pylist() == [1.5, None, None]
    assert alive_mask(batch).tolist() == [False, True, False]
    assert batch.schema.equals(IN_FLIGHT)


def test_values_and_names_by_row():
    """Rule, value and threshold may differ from row to row."""
    names, values = pa.array(["a", "b"]), np.array([1.0, 2.0])
    batch = reject(rows([None, None]), names, where_N=np.array([True, True]), value=values, threshold=values * 10)
    assert batch.select(["rule", "value", "threshold"]).to_pylist() == [
        {"rule": "a", "value": 1.0, "threshold": 10.0}, {"rule": "b", "value": 2.0, "threshold": 20.0},
    ]  # fmt: skip


def test_token_ids_are_as_narrow_as_the_vocabulary_allows():
    """The largest id of 65,536 tokens is 65,535."""
    assert token_type(65_536) == pa.uint16()
    assert token_type(65_537) == pa.uint32()
