"""Measures of a classifier against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pretrain.metrics import classification_report, confusion_matrix


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_equal_definitions(pairs):
    """Accuracy, F1 of each class and Matthews (as the correlation of indicator matrices) by counting."""
    truth, guess = (np.array(column) for column in zip(*pairs, strict=True))
    report = classification_report(confusion_matrix(truth, guess, 4), list("abcd"))
    assert report["accuracy"] == pytest.approx(np.mean(truth == guess))
    f1 = []
    for label in range(4):
        right = np.sum((truth == label) & (guess == label))
        either = np.sum(truth == label) + np.sum(guess == label)
        f1.append(2 * right / either if either else 0.0)
    assert report["f1"] == pytest.approx(np.mean(f1))
    assert report["f1_by_class"] == pytest.approx(dict(zip("abcd", f1, strict=True)), abs=1e-4)
    x, y = (np.eye(4)[labels] - np.eye(4)[labels].mean(0) for labels in (truth, guess))
    spread = math.sqrt((x * x).sum() * (y * y).sum())
    assert report["matthews"] == pytest.approx((x * y).sum() / spread if spread > 1e-12 else 0.0, abs=1e-9)
    assert report["majority"] == pytest.approx(np.bincount(truth).max() / len(truth))


def test_confusion_matrix():
    """Rows are the truth, columns the guess."""
    assert confusion_matrix(np.array([0, 0, 1]), np.array([1, 0, 1]), 2).tolist() == [[1, 1], [0, 1]]
