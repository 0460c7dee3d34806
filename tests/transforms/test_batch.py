"""The coder: small, exact, and never a key."""

import pickle

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from transforms.batch import BatchKey, RecordBatchCoder

BATCH = pa.record_batch({"text": ["x" * 1000] * 1000, "n": np.arange(1000)})


def test_a_slice_travels_without_its_parent():
    """64 rows of a large batch cost 64 rows; pickle would send the whole parent buffer."""
    part = BATCH.slice(10, 64)
    encoded = RecordBatchCoder().encode(part)
    assert len(encoded) < 80_000 < len(pickle.dumps(part))
    assert RecordBatchCoder().decode(encoded).equals(part)
    assert RecordBatchCoder().estimate_size(part) < 80_000


def test_beam_uses_the_coder_for_keyed_batches():
    """The registered coder is found through the tuple's type hint, also after a shuffle."""
    hint = beam.typehints.native_type_compatibility.convert_to_beam_type(tuple[BatchKey, pa.RecordBatch])
    coder = beam.coders.registry.get_coder(hint)
    assert isinstance(coder.coders()[1], RecordBatchCoder)


def test_a_batch_is_refused_as_a_key():
    """Equal data from different slices encodes differently, so Beam must not group by it."""
    with pytest.raises(ValueError, match="deterministic|key"):
        RecordBatchCoder().as_deterministic_coder("GroupByKey")
