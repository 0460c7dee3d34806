"""Measures of a classifier, all from its confusion matrix. C classes, N examples."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(truth_N: NDArray[np.int64], guess_N: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return int64 [C, C]: how often class `row` was taken for class `column`."""
    return np.bincount(truth_N * num_classes + guess_N, minlength=num_classes**2).reshape(num_classes, num_classes)


def classification_report(confusion_CC: NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    """Return accuracy, macro F1, Matthews correlation, the share of the largest class, F1 by class and the matrix.

    A class that neither occurs nor is guessed has F1 0; Matthews is that of several classes (Gorodkin 2004), 0 where it
    is not defined because only one class occurs or is guessed.
    """
    truth_C, guess_C, right_C = confusion_CC.sum(1), confusion_CC.sum(0), confusion_CC.diagonal()
    total = int(confusion_CC.sum())
    f1_C = 2 * right_C / np.maximum(truth_C + guess_C, 1)
    spread = float(total**2 - guess_C @ guess_C) * float(total**2 - truth_C @ truth_C)
    covered = float(right_C.sum() * total - truth_C @ guess_C)
    return {
        "examples": total,
        "accuracy": float(right_C.sum() / total),
        "f1": float(f1_C.mean()),
        "matthews": covered / math.sqrt(spread) if spread else 0.0,
        "majority": float(truth_C.max() / total),
        "f1_by_class": dict(zip(names, f1_C.round(4).tolist(), strict=True)),
        "confusion": confusion_CC.tolist(),
    }
