"""Leakage: documents that are nearly one of the validation split, by bands of their signatures."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.fingerprint import MinHashParameters, metadata
from transforms.leakage import bands_of, near_documents
from transforms.schema import signatures_schema

PARAMETERS = MinHashParameters(bands=3, rows=2)


def signature_batches(signatures, *, cuts=1):
    """The table signatures/ of documents 10, 11, ...; None for a document that is too short."""
    schema = signatures_schema(PARAMETERS.num_perm, metadata(PARAMETERS))
    values = pa.array([value for row in signatures for value in row or [0] * 6], pa.uint32())
    unsigned = pa.array([row is None for row in signatures], pa.bool_())
    columns = [
        pa.array(range(10, 10 + len(signatures)), pa.int64()),
        pa.array([bytes(16)] * len(signatures), pa.binary(16)),
        pa.FixedSizeListArray.from_arrays(values, type=schema.field("minhash").type, mask=unsigned),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    edges = np.linspace(0, len(signatures), cuts + 1).astype(int).tolist()
    return [batch.slice(start, stop - start) for start, stop in pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=14),
    st.sets(st.integers(10, 23)),
    st.integers(1, 3),
)
def test_near_documents_share_a_band(signatures, validation, cuts):
    """Exactly those that have the values of one band, at its place, in common with a validation document."""

    def bands(values):
        return {(band, *values[2 * band : 2 * band + 2]) for band in range(3)}

    by_id = {10 + number: values for number, values in enumerate(signatures) if values is not None}
    held_out = set().union(*(bands(by_id[doc_id]) for doc_id in validation & set(by_id)))
    expected = [doc_id for doc_id, values in by_id.items() if bands(values) & held_out]
    batches = signature_batches(signatures, cuts=cuts)
    keys = bands_of(batches, np.array(sorted(validation), np.int64), PARAMETERS)
    assert len(keys) == 3 * len(validation & set(by_id))
    assert near_documents(batches, np.unique(keys), PARAMETERS).tolist() == expected


def test_the_same_values_in_another_band_are_nothing():
    """A band is a place as well as its values."""
    batches = signature_batches([[1, 2, 3, 4, 5, 6], [3, 4, 1, 2, 9, 9], [9, 9, 3, 4, 8, 8]])
    keys = np.unique(bands_of(batches, np.array([10]), PARAMETERS))
    assert near_documents(batches, keys, PARAMETERS).tolist() == [10, 12]
