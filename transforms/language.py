"""The language of each document: a label, a score, and the rule that keeps some languages."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.detector import Detector, open_detector
from transforms.schema import SECOND_LANGUAGE, alive_mask, reject, set_column

RULE, UNKNOWN_RULE = "language", "language_unknown"
MIXED_SHARE = 0.25  # of the second language, from which on a document is reported as mixed


def named_languages(labels: Sequence[str], names: Sequence[str]) -> NDArray[np.bool_]:
    """Return bool [L]: which of a detector's labels `names` stand for.

    A name is a label, or what stands before its hyphen or underscore: `zh` is zh-cn and zh-tw, `deu` is deu_Latn.

    Raises:
        ValueError: a name that is no label.
    """
    named_L = np.zeros(len(labels), np.bool_)
    bases = [label.replace("_", "-").partition("-")[0] for label in labels]
    for name in names:
        matches = [i for i, label in enumerate(labels) if name in (label, bases[i])]
        if not matches:
            [nearest] = difflib.get_close_matches(name, labels, n=1, cutoff=0.0)
            raise ValueError(f"language {name!r} is not one of the {len(labels)} known; the nearest is {nearest!r}")
        named_L[matches] = True
    return named_L


def label_language(
    batch: pa.RecordBatch,
    *,
    keep: Sequence[str] = (),
    threshold: float = 0.65,
    thresholds: Mapping[str, float] | None = None,
    model: str | None = None,
) -> pa.RecordBatch:
    """Return `batch` with language and language_score of the living rows written, and other languages rejected.

    With an empty `keep` rows are only labelled, and rejected if `thresholds` has their language and they score less.
    Otherwise a row lives if its label is kept and the kept languages together score at least the threshold of its
    label. Rule `language` has that score as its value; rule `language_unknown` is for documents of which the detector
    says nothing: no letters, or a script that it does not know.

    A column SECOND_LANGUAGE is appended if there is a row with a second language of at least MIXED_SHARE.

    Args:
        batch: rows of schema IN_FLIGHT. Text in normal form C: a decomposed Vietnamese letter is taken for two.
        keep: labels, see `named_languages`.
        threshold: 0 to 1, of languages that `thresholds` does not name.
        thresholds: 0 to 1, by language.
        model: path of a fastText model; langdetect's profiles by default.

    Raises:
        ValueError: a language that the detector does not know, or a model that cannot be read.
    """
    detector = open_detector(model)
    labels, thresholds = detector.labels, thresholds or {}
    kept_L, threshold_L = named_languages(labels, keep), thresholds_by_label(detector, threshold, thresholds)
    alive_N = alive_mask(batch)
    found = detector.scores(batch.column("text"), ~alive_N, kept_L)
    language_N, known_N = found.language_N, found.language_N >= 0
    mixed_N = alive_N & (found.second_N >= 0) & (found.share_N >= np.float32(MIXED_SHARE))
    names = pa.array(labels)
    alive = pa.array(alive_N)
    label = pc.take(names, pa.array(language_N, mask=~known_N))
    for name, values in (("language", label), ("language_score", pa.array(found.score_N, mask=~known_N))):
        batch = set_column(batch, name, pc.if_else(alive, values, batch.column(name)))
    threshold_N = threshold_L[language_N]
    if keep:
        batch = reject(batch, UNKNOWN_RULE, where_N=~known_N)
        score_N = found.kept_N
        fails_N = ~kept_L[language_N] | (score_N < threshold_N.astype(np.float32))
    else:
        score_N = found.score_N
        fails_N = (
            known_N & named_languages(labels, [*thresholds])[language_N] & (score_N < threshold_N.astype(np.float32))
        )
    batch = reject(batch, RULE, where_N=fails_N, value=score_N.astype(np.float64), threshold=threshold_N)
    if mixed_N.any():
        batch = set_column(batch, SECOND_LANGUAGE, pc.take(names, pa.array(found.second_N, mask=~mixed_N)))
    return batch


def thresholds_by_label(detector: Detector, threshold: float, thresholds: Mapping[str, float]) -> NDArray[np.float64]:
    """Return float64 [L]: the threshold of each label.

    Raises:
        ValueError: a language that the detector does not know.
    """
    threshold_L = np.full(len(detector.labels), threshold)
    for name, value in thresholds.items():
        threshold_L[named_languages(detector.labels, [name])] = value
    return threshold_L


@dataclass(frozen=True, kw_only=True)
class LabelLanguage:
    """The step of the clean stage; see `label_language`, whose mistakes it tells when it is made."""

    keep: tuple[str, ...] = ()
    threshold: float = 0.65
    thresholds: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None

    def __post_init__(self) -> None:
        detector = open_detector(self.model)
        named_languages(detector.labels, self.keep)
        thresholds_by_label(detector, self.threshold, self.thresholds)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return label_language(
            batch, keep=self.keep, threshold=self.threshold, thresholds=self.thresholds, model=self.model
        )
