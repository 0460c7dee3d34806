"""The language of each document: a label, a score, and the rule that keeps some languages.

The score of a language is its mean posterior over windows of the document, so a page of half German and half English
scores one half for each. Labels are langdetect's: ISO 639-1, and zh-cn and zh-tw for the two Chinese scripts.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from numpy.typing import NDArray

from transforms.batch import BatchKey
from transforms.kernels.language import WIDTH, identify
from transforms.kernels.profiles import Model, langdetect_model
from transforms.kernels.strings import string_views
from transforms.schema import alive_mask, reject, set_column

RULE, UNKNOWN_RULE = "language", "language_unknown"


def kept_languages(model: Model, keep: Sequence[str]) -> NDArray[np.bool_]:
    """Return bool [WIDTH]: the model's languages that `keep` names.

    A name is a label, or what stands before its hyphen: `zh` is zh-cn and zh-tw.

    Raises:
        ValueError: a name that is no label.
    """
    kept_L = np.zeros(WIDTH, np.bool_)
    for name in keep:
        matches = [i for i, label in enumerate(model.labels) if name in (label, label.partition("-")[0])]
        if not matches:
            [nearest] = difflib.get_close_matches(name, model.labels, n=1, cutoff=0.0)
            raise ValueError(
                f"language {name!r} is not one of the {len(model.labels)} known; the nearest is {nearest!r}"
            )
        kept_L[matches] = True
    return kept_L


def label_language(
    batch: pa.RecordBatch, *, keep: Sequence[str] = (), threshold: float = 0.65, model: Model | None = None
) -> pa.RecordBatch:
    """Return `batch` with language and language_score of the living rows written, and other languages rejected.

    With an empty `keep` rows are only labelled. Otherwise a row lives if its label is kept and the kept languages
    together score at least `threshold`. Rule `language` has that score as its value; rule `language_unknown` is for
    documents with no n-gram of any profile: no letters, or a script that the model does not know.

    Args:
        batch: rows of schema IN_FLIGHT. Text in normal form C: a decomposed Vietnamese letter is taken for two.
        keep: labels, see `kept_languages`.
        threshold: 0 to 1.
        model: tables of the detector; langdetect's by default.

    Raises:
        ValueError: a language in `keep` that the model does not know.
    """
    model = model or langdetect_model()
    kept_L = kept_languages(model, keep)
    alive_N = alive_mask(batch)
    num_rows = batch.num_rows
    language_N = np.empty(num_rows, np.int16)
    score_N, kept_N = np.empty(num_rows, np.float32), np.empty(num_rows, np.float32)
    identify(
        *string_views(batch.column("text")),
        ~alive_N,
        model.chars_C,
        model.slots_S,
        model.rows_RL,
        model.num_languages,
        model.hangul_char,
        model.korean,
        kept_L,
        language_N,
        score_N,
        kept_N,
    )
    known_N = language_N >= 0
    labels = pc.take(pa.array(model.labels), pa.array(language_N, mask=~known_N))
    alive = pa.array(alive_N)
    for name, values in (("language", labels), ("language_score", pa.array(score_N, mask=~known_N))):
        batch = set_column(batch, name, pc.if_else(alive, values, batch.column(name)))
    if keep:
        batch = reject(batch, UNKNOWN_RULE, where_N=~known_N)
        other_N = ~kept_L[language_N] | (kept_N < np.float32(threshold))
        batch = reject(batch, RULE, where_N=other_N, value=kept_N.astype(np.float64), threshold=threshold)
    return batch


class _LabelLanguage(beam.DoFn):
    def __init__(self, keep: tuple[str, ...], threshold: float) -> None:
        self._keep, self._threshold = keep, threshold
        self._rejected = Metrics.counter("language", "rejected")

    def setup(self) -> None:
        langdetect_model()

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        key, batch = element
        out = label_language(batch, keep=self._keep, threshold=self._threshold)
        self._rejected.inc(batch.column("rule").null_count - out.column("rule").null_count)
        yield key, out


@dataclass(kw_only=True, eq=False)
class LabelLanguage(beam.PTransform):
    """Keyed batches to keyed batches; see `label_language`."""

    keep: tuple[str, ...] = ()
    threshold: float = 0.65

    def __post_init__(self) -> None:
        kept_languages(langdetect_model(), self.keep)

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        label = beam.ParDo(_LabelLanguage(self.keep, self.threshold))
        return batches | label.with_output_types(tuple[BatchKey, pa.RecordBatch])
