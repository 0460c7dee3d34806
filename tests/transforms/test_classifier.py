"""transforms.classifier: a tiny model that knows two words and two labels."""

import pickle

import pytest

from tests.transforms.batches import batch_of
from tests.transforms.fasttext_model import write_model
from transforms.classifier import Classify
from transforms.schema import STATISTIC

pytest.importorskip("fasttext", reason="needs the package fasttext-predict")


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "tiny.bin")


def test_scores_are_kept_and_compared(model):
    """Documents are scored on all their lines as one; those below the threshold are rejected, with the score."""
    batch = batch_of(["good\ngood good", "bad bad", "good bad", "", "good"], [None, None, None, None, "language"])
    out = Classify(model=model, label="good", threshold=0.4)(batch)
    scores = out.column(STATISTIC + "classifier_score").to_pylist()
    assert scores[0] > 0.95
    assert scores[1] < 0.05
    assert scores[2:4] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert scores[4] is None
    assert out.column("rule").to_pylist() == [None, "classifier", None, None, "language"]
    assert out.column("value").to_pylist() == [None, scores[1], None, None, None]
    assert out.column("threshold")[1].as_py() == 0.4


def test_without_a_threshold_documents_are_only_scored(model):
    """The full name of the label serves too, and the function is pickled without the model."""
    classify = pickle.loads(pickle.dumps(Classify(model=model, label="__label__bad")))
    out = classify(batch_of(["good", "bad"]))
    assert out.column("rule").null_count == 2
    low, high = out.column(STATISTIC + "classifier_score").to_pylist()
    assert low < 0.05
    assert high > 0.95


def test_mistakes_are_one_line(model, tmp_path):
    """A label that the model does not know, and a file that is no model."""
    with pytest.raises(ValueError, match="has no label 'great'; there are bad, good"):
        Classify(model=model, label="great").check()
    Classify(model=model, label="good").check()
    (tmp_path / "text").write_text("no model")
    for name in ("text", "nowhere"):
        with pytest.raises(ValueError, match=f"{name} is no fastText model") as caught:
            Classify(model=str(tmp_path / name), label="good").check()
        assert "\n" not in str(caught.value)
