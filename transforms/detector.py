"""Detectors of language: langdetect's profiles in our kernel, or a fastText model by its path. No Beam.

Labels are the detector's own: ISO 639-1 for langdetect (with zh-cn and zh-tw) and lid.176, `deu_Latn` for GlotLID and
OpenLID.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.classifier import load_model
from transforms.kernels.language import WIDTH, identify
from transforms.kernels.profiles import Model, langdetect_model
from transforms.kernels.strings import string_views
from transforms.kernels.windows import MAX_WINDOWS, WINDOW

SAMPLE_BYTES = WINDOW * MAX_WINDOWS  # fastText takes 38 ns a byte, so of a longer document it is given a sample too
_NUM_LABELS = 5  # of a document, whose scores count; what is left is under a hundredth
_PREFIX = "__label__"


class Scores(NamedTuple):
    """What a detector says of N documents; a number of -1 is no language."""

    language_N: NDArray[np.int16]
    score_N: NDArray[np.float32]  # of that language, 0 to 1
    kept_N: NDArray[np.float32]  # of all languages of `kept_L` together
    second_N: NDArray[np.int16]  # the next language
    share_N: NDArray[np.float32]  # its score


class Detector(Protocol):
    """Scores documents by language."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The languages that it knows."""

    def scores(self, texts: pa.Array, skip_N: NDArray[np.bool_], kept_L: NDArray[np.bool_]) -> Scores:
        """Return the scores of N texts; those of `skip_N` have no language."""


class Langdetect:
    """Naive Bayes over the n-gram profiles of the package `langdetect`; at most 4 KiB of a document are read.

    A score is the mean posterior over windows of 256 bytes, so a page of half German and half English scores one half
    for each.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def labels(self) -> tuple[str, ...]:
        return self._model.labels

    def scores(self, texts: pa.Array, skip_N: NDArray[np.bool_], kept_L: NDArray[np.bool_]) -> Scores:
        padded_L = np.zeros(WIDTH, np.bool_)
        padded_L[: len(kept_L)] = kept_L
        num_rows = len(texts)
        language_N, second_N = np.empty(num_rows, np.int16), np.empty(num_rows, np.int16)
        score_N, kept_N, share_N = (np.empty(num_rows, np.float32) for _ in range(3))
        offsets_N1, bytes_M = string_views(texts)
        tables = self._model[1:]
        identify(offsets_N1, bytes_M, skip_N, *tables, padded_L, language_N, score_N, kept_N, second_N, share_N)
        return Scores(language_N, score_N, kept_N, second_N, share_N)


class FastText:
    """A fastText model such as lid.176, GlotLID or OpenLID. A score is the model's probability for the whole sample."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise ValueError(f"no language model at {path}")
        self._model = load_model(path)
        found, _ = self._model.predict("a", k=1 << 20, threshold=-1.0)
        self._labels = tuple(sorted(label.removeprefix(_PREFIX) for label in found))
        self._numbers = {_PREFIX + label: number for number, label in enumerate(self._labels)}

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def scores(self, texts: pa.Array, skip_N: NDArray[np.bool_], kept_L: NDArray[np.bool_]) -> Scores:
        num_rows = len(texts)
        language_N, second_N = np.full(num_rows, -1, np.int16), np.full(num_rows, -1, np.int16)
        score_N, kept_N, share_N = (np.zeros(num_rows, np.float32) for _ in range(3))
        offsets_N1, bytes_M = string_views(texts)
        for n in np.flatnonzero(~skip_N):
            line = sample(bytes_M[offsets_N1[n] : offsets_N1[n + 1]].tobytes())
            if not any(map(str.isalpha, line)):
                continue
            labels, values = self._model.predict(line, k=_NUM_LABELS)
            numbers = [self._numbers[label] for label in labels]
            values = np.minimum(values, 1.0)  # 1.00004 happens
            if numbers:
                language_N[n], score_N[n] = numbers[0], values[0]
                kept_N[n] = min(1.0, float(values[kept_L[numbers]].sum()))
            if len(numbers) > 1:
                second_N[n], share_N[n] = numbers[1], values[1]
        return Scores(language_N, score_N, kept_N, second_N, share_N)


def sample(text: bytes) -> str:
    """Return a document as one line: whole, or of a longer one SAMPLE_BYTES, cut where the kernel's windows are.

    Of two languages, 60 and 40 % of a document, one behind the other, fastText names the larger in 71 % of the samples
    and in 72 % of the whole documents; of samples of four pieces of 1024 bytes, which take as long, in 50 %.
    """
    if len(text) > SAMPLE_BYTES:
        starts = [w * (len(text) - WINDOW) // (MAX_WINDOWS - 1) for w in range(MAX_WINDOWS)]
        text = b" ".join(text[start : start + WINDOW] for start in starts)
    return text.decode("utf-8", "ignore").replace("\n", " ")


@cache
def open_detector(model: str | None) -> Detector:
    """Return langdetect's detector, or that of the fastText model at a path; loaded once a process.

    Raises:
        ValueError: no such file, or it is no fastText model.
    """
    return Langdetect(langdetect_model()) if model is None else FastText(model)
