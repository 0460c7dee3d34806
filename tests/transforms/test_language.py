"""transforms.language: batches in, batches out."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that

from tests.transforms.batches import batch_of
from tests.transforms.kernels.test_language import TEXTS
from transforms.batch import BatchKey
from transforms.kernels.profiles import langdetect_model
from transforms.language import LabelLanguage, kept_languages, label_language
from transforms.schema import IN_FLIGHT


def test_labels_without_a_keep_list():
    """An empty keep-list labels every row and rejects none, not even one without letters."""
    out = label_language(batch_of([*TEXTS.values(), "123"]))
    assert out.column("language").to_pylist() == [*TEXTS, None]
    assert out.column("language_score").null_count == 1
    assert out.column("rule").null_count == out.num_rows
    assert out.schema == IN_FLIGHT


def test_keep_list_rejects_with_value_and_threshold():
    """Other languages go by rule `language` with the kept languages' score; text without letters by its own rule."""
    out = label_language(batch_of([TEXTS["de"], TEXTS["en"], "123", ""]), keep=["de"], threshold=0.7)
    assert out.column("rule").to_pylist() == [None, "language", "language_unknown", "language_unknown"]
    assert out.column("threshold").to_pylist() == [None, 0.7, None, None]
    assert out.column("value")[1].as_py() < 0.01


def test_threshold_rejects_mixed_documents():
    """Half German, half English passes at 0.3 and fails at 0.65, if only German is kept; with both it passes."""
    batch = batch_of([TEXTS["de"] * 20 + TEXTS["en"] * 19])
    assert label_language(batch, keep=["de"], threshold=0.3).column("rule").to_pylist() == [None]
    failed = label_language(batch, keep=["de"], threshold=0.65)
    assert failed.column("rule").to_pylist() == ["language"]
    assert failed.column("value")[0].as_py() == pytest.approx(0.5, abs=0.1)
    assert label_language(batch, keep=["de", "en"], threshold=0.95).column("rule").to_pylist() == [None]


def test_base_language_names_its_variants():
    """`zh` keeps both Chinese labels and sums their scores; `zh-tw` keeps one."""
    labels = np.array(langdetect_model().labels)
    assert set(labels[kept_languages(langdetect_model(), ["zh"])[: len(labels)]]) == {"zh-cn", "zh-tw"}
    batch = batch_of([TEXTS["zh-cn"]])
    assert label_language(batch, keep=["zh"], threshold=0.99).column("rule").to_pylist() == [None]
    assert label_language(batch, keep=["zh-tw"]).column("rule").to_pylist() == ["language"]


def test_unknown_language_is_refused():
    """A language that the profiles do not have is a ValueError with the nearest one, also at construction."""
    with pytest.raises(ValueError, match=r"'ger' is not one of the 55 known; the nearest is '\w+'"):
        label_language(batch_of(["a"]), keep=["en", "ger"])
    with pytest.raises(ValueError, match="'zh-hk'"):
        LabelLanguage(keep=("zh-hk",))


def test_rejected_rows_stay():
    """A row with a rule gets no label and keeps its rule."""
    out = label_language(batch_of([TEXTS["en"], TEXTS["fr"]], ["empty", None]), keep=["en"])
    assert out.column("language").to_pylist() == [None, "fr"]
    assert out.column("rule").to_pylist() == ["empty", "language"]


def test_slices_and_empty_batches():
    """A slice of a batch gives the same rows as the batch; a batch without rows gives one."""
    whole = batch_of(list(TEXTS.values()))
    assert label_language(whole.slice(2, 3)).to_pylist() == label_language(whole).to_pylist()[2:5]
    assert label_language(whole.slice(0, 0)).num_rows == 0


def test_transform_keeps_keys_and_counts():
    """The PTransform hands on each key with its batch, typed, and counts what it rejects."""
    key = BatchKey("u", 0, "k", 0, 2, last=True)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    out = pipeline | beam.Create([(key, batch_of([TEXTS["en"], TEXTS["ru"]]))]) | LabelLanguage(keep=("ru",))
    assert out.element_type == beam.typehints.Tuple[BatchKey, pa.RecordBatch]

    def check(elements):
        [(out_key, batch)] = elements
        assert out_key == key
        assert batch.column("language").to_pylist() == ["en", "ru"]

    assert_that(out, check)
    result = pipeline.run()
    result.wait_until_finish()
    [counter] = result.metrics().query(beam.metrics.MetricsFilter().with_name("rejected"))["counters"]
    assert counter.committed == 1
