"""transforms.each_batch: a function of a batch in a graph."""

import apache_beam as beam
import pyarrow as pa
from apache_beam.testing.util import assert_that

from tests.transforms.batches import batch_of
from transforms.batch import BatchKey
from transforms.each_batch import EachBatch
from transforms.schema import set_column
from transforms.url_filter import FilterUrls


def test_keys_stay_and_the_label_is_the_functions(tmp_path):
    """Each key goes on with what the function makes of its batch, typed; two functions may stand in one graph."""
    key = BatchKey("u", 0, "k", 0, 1, last=True)
    (tmp_path / "urls").write_text("a.org\n")
    transform = EachBatch(function=FilterUrls(urls=str(tmp_path / "urls")))
    assert transform.label == "FilterUrls"
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        out = pipeline | beam.Create([(key, set_column(batch_of(["a"]), "url", pa.array(["a.org"])))]) | transform
        assert out.element_type == beam.typehints.Tuple[BatchKey, pa.RecordBatch]

        def check(elements):
            [(out_key, batch)] = elements
            assert out_key == key
            assert batch.column("rule").to_pylist() == ["url"]

        assert_that(out, check)
