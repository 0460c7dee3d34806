"""A quality classifier: a fastText model by path, the score of one of its labels, and the least that is kept."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.schema import STATISTIC, alive_mask, reject

RULE = "classifier"
SCORE = "classifier_score"  # its name among the statistics


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Scores living documents with a model that classifies texts; a function of a batch.

    The score of a document, the probability of `label`, is appended as the statistic `classifier_score`; with a
    `threshold` those below it are rejected. As fastText itself does, the whole text counts as one line.

    Args:
        model: path of a model, .bin or .ftz.
        label: with or without `__label__`.
        threshold: the least score that is kept, or None.
    """

    model: str
    label: str
    threshold: float | None = None

    @property
    def _name(self) -> str:
        return self.label if self.label.startswith("__label__") else f"__label__{self.label}"

    def check(self) -> None:
        """Refuse a model that cannot be read, or that does not know the label.

        Raises:
            ValueError: with the labels that it knows.
        """
        labels, _ = load_model(self.model).predict("", k=-1, threshold=-1.0)
        if self._name not in labels:
            some = ", ".join(sorted(label.removeprefix("__label__") for label in labels)[:20])
            raise ValueError(f"classifier: {self.model} has no label {self.label!r}; there are {some}")

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        alive_N = alive_mask(batch)
        texts = batch.column("text").filter(pa.array(alive_N)).to_pylist()
        score_N = np.full(batch.num_rows, np.nan)
        score_N[alive_N] = [self._score(text) for text in texts]
        batch = batch.append_column(STATISTIC + SCORE, pa.array(score_N, pa.float64(), from_pandas=True))
        if self.threshold is None:
            return batch
        return reject(batch, RULE, where_N=score_N < self.threshold, value=score_N, threshold=self.threshold)

    def _score(self, text: str) -> float:
        labels, scores = load_model(self.model).predict(text.replace("\n", " "), k=-1, threshold=-1.0)
        return min(1.0, float(dict(zip(labels, scores, strict=True)).get(self._name, 0.0)))  # rounding goes above 1


@lru_cache(maxsize=1)  # a worker sees many units
def load_model(path: str) -> Any:
    """Return a fastText model.

    Raises:
        ValueError: the package is not installed, or the file is no model.
    """
    try:
        import fasttext  # noqa: PLC0415 - an extra, and only those who have a model need it
    except ModuleNotFoundError:
        raise ValueError("a fastText model needs the package fasttext-predict; pip installs it") from None
    try:
        return fasttext.load_model(path)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no fastText model ({' '.join(str(error).split())})") from None
