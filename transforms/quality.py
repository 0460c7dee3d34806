"""Quality presets: rules over the words and lines of a document, each with a name, a measured value and a threshold.

Names, thresholds and order are those of the reference implementations; tokens are those of `transforms.kernels.tokens`.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from numpy.typing import NDArray

from transforms.batch import BatchKey
from transforms.kernels.c4 import CUT_FEW_WORDS, CUT_JAVASCRIPT, CUT_LONG_WORD, CUT_POLICY, NUM_CUTS, pack
from transforms.kernels.lexicon import NUM_ROWS
from transforms.kernels.quality import C4, FINEWEB, GOPHER_QUALITY, GOPHER_REPETITION, MC4_PARAGRAPH, judge
from transforms.kernels.room import enlarged, new_lexicon, new_room
from transforms.kernels.strings import string_array, string_views
from transforms.schema import alive_mask, reject, set_column

NEVER = float("nan")  # a threshold that no value fails


class Preset(NamedTuple):
    """Which kernel measures, and its rules in order: name and threshold."""

    kind: int
    rules: tuple[tuple[str, float], ...]


# From datatrove 0.10: gopher_repetition_filter, gopher_quality_filter, c4_filters, fineweb_quality_filter, for FineWeb.
PRESETS = {
    "gopher-repetition": Preset(
        GOPHER_REPETITION,
        (
            ("empty", NEVER),
            ("dup_para_frac", 0.3),
            ("dup_para_char_frac", 0.2),
            ("dup_line_frac", 0.3),
            ("dup_line_char_frac", 0.2),
            ("top_2_gram", 0.2),
            ("top_3_gram", 0.18),
            ("top_4_gram", 0.16),
            ("duplicated_5_n_grams", 0.15),
            ("duplicated_6_n_grams", 0.14),
            ("duplicated_7_n_grams", 0.13),
            ("duplicated_8_n_grams", 0.12),
            ("duplicated_9_n_grams", 0.11),
            ("duplicated_10_n_grams", 0.1),
        ),
    ),
    "gopher-quality": Preset(
        GOPHER_QUALITY,
        (
            ("gopher_short_doc", 50.0),
            ("gopher_long_doc", 100_000.0),
            ("gopher_below_avg_threshold", 3.0),
            ("gopher_above_avg_threshold", 10.0),
            ("gopher_too_many_hashes", 0.1),
            ("gopher_too_many_ellipsis", 0.1),
            ("gopher_too_many_bullets", 0.9),
            ("gopher_too_many_end_ellipsis", 0.3),
            ("gopher_below_alpha_threshold", 0.8),
            ("gopher_enough_stop_words", 2.0),
        ),
    ),
    "c4-fineweb": Preset(C4, (("lorem_ipsum", NEVER), ("curly_bracket", NEVER), ("too_few_sentences", 5.0))),
    "fineweb": Preset(
        FINEWEB,
        (
            ("empty", NEVER),
            ("line_punct_ratio", 0.12),
            ("short_line_ratio", 0.67),
            ("char_dup_ratio", 0.01),
            ("list_ratio", 0.3),
        ),
    ),
    # TFDS 3.1 and datatrove agree: fewer than three lines, or the third longest under 200 characters.
    "mc4-paragraph": Preset(MC4_PARAGRAPH, (("paragraph_filter", 200.0),)),
}

CUTS = {
    CUT_LONG_WORD: "too_long_word",
    CUT_FEW_WORDS: "too_few_words",
    CUT_JAVASCRIPT: "javascript",
    CUT_POLICY: "policy",
}

_MAX_TOKENS, _MAX_LINES = 1 << 20, 1 << 18  # of a document, to keep room for in the next batch
_MAX_RULES = max(len(preset.rules) for preset in PRESETS.values())


def chosen_presets(names: Sequence[str]) -> tuple[Preset, ...]:
    """Return the presets of these names, in their order.

    Raises:
        ValueError: a name that is no preset.
    """
    for name in names:
        if name not in PRESETS:
            [nearest] = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)
            raise ValueError(f"quality preset {name!r} is not known; the nearest is {nearest!r}")
    return tuple(PRESETS[name] for name in names)


class Memory:
    """What the rules remember from batch to batch: how chunks split. It saves time and changes nothing else.

    Args:
        max_rows: with more strings than this after a batch it starts afresh. 2**19 are 80 MB, and the chunks of 60 to
            100 MB of English.
    """

    def __init__(self, *, max_rows: int = 1 << 19) -> None:
        self.max_rows = max_rows
        self.forget()

    def forget(self) -> None:
        """Start afresh."""
        self.lexicon = new_lexicon()
        self.room = new_room(len(self.lexicon.rows_R))

    def trim(self) -> None:
        """Give back what a huge document has taken, and start afresh with too many strings."""
        if self.lexicon.used[NUM_ROWS] > self.max_rows:
            self.forget()
        elif len(self.room.first.tokens_T) > _MAX_TOKENS or len(self.room.first.hashes_L) > _MAX_LINES:
            self.room = new_room(len(self.lexicon.rows_R))


def filter_quality(
    batch: pa.RecordBatch,
    *,
    presets: Sequence[str],
    memory: Memory | None = None,
    cuts_C: NDArray[np.int64] | None = None,
) -> pa.RecordBatch:
    """Return `batch` with the living rows that fail a preset rejected by the first rule that they fail.

    Presets apply in the order given; c4-fineweb cuts lines, and presets after it see what is left. The text of a row
    that lives is rewritten then, that of a rejected row is not.

    Args:
        batch: rows of schema IN_FLIGHT.
        presets: names of PRESETS.
        memory: to be kept from batch to batch by one thread; a new one by default.
        cuts_C: int64 [NUM_CUTS], to which the lines cut are added, by the numbers of CUTS.

    Raises:
        ValueError: a name that is no preset.
    """
    chosen = chosen_presets(presets)
    memory = memory or Memory()
    cuts_C = np.zeros(NUM_CUTS, np.int64) if cuts_C is None else cuts_C
    offsets_N1, bytes_M = string_views(batch.column("text"))
    original = bytes_M[offsets_N1[0] : offsets_N1[-1]]
    text, offsets_N1 = original.copy(), offsets_N1 - offsets_N1[0]
    alive_N = alive_mask(batch)
    thresholds_PQ = np.full((len(chosen), _MAX_RULES), NEVER)
    for preset, thresholds_Q in zip(chosen, thresholds_PQ, strict=True):
        thresholds_Q[: len(preset.rules)] = [threshold for _, threshold in preset.rules]
    kinds_P = np.array([preset.kind for preset in chosen], np.int64)
    num_rows = batch.num_rows
    preset_N, rule_N = np.full(num_rows, -1, np.int64), np.full(num_rows, -1, np.int64)
    value_N, stop_N = np.zeros(num_rows), offsets_N1[1:].copy()
    done = 0
    while done < num_rows:
        arguments = (offsets_N1, text, ~alive_N, kinds_P, thresholds_PQ, done)
        done, full = judge(memory.lexicon, memory.room, *arguments, preset_N, rule_N, value_N, stop_N, cuts_C)
        if full:
            text[offsets_N1[done] :] = original[offsets_N1[done] :]
            memory.lexicon, memory.room = enlarged(memory.lexicon, memory.room, full)
    memory.trim()
    failed_N = rule_N >= 0
    if C4 in kinds_P:
        out_offsets_N1, out_M = np.empty_like(offsets_N1), np.empty_like(original)
        pack(original, text, offsets_N1, stop_N, alive_N & ~failed_N, out_offsets_N1, out_M)
        batch = set_column(batch, "text", string_array(out_offsets_N1, out_M))
    if failed_N.any():
        batch = _with_verdicts(batch, chosen, preset_N * _MAX_RULES + rule_N, value_N, failed_N)
    return batch


def _with_verdicts(
    batch: pa.RecordBatch,
    chosen: tuple[Preset, ...],
    verdict_N: NDArray[np.int64],
    value_N: NDArray[np.float64],
    failed_N: NDArray[np.bool_],
) -> pa.RecordBatch:
    """Return `batch` with rule number verdict_N, counted over presets of _MAX_RULES, written where `failed_N`."""
    names = np.full(len(chosen) * _MAX_RULES, "", object)
    thresholds = np.full(len(names), NEVER)
    for p, preset in enumerate(chosen):
        for q, (name, threshold) in enumerate(preset.rules):
            names[p * _MAX_RULES + q], thresholds[p * _MAX_RULES + q] = name, threshold
    verdict_N = np.where(failed_N, verdict_N, 0)
    threshold_N = thresholds[verdict_N]
    unmeasured_N = np.isnan(threshold_N)
    return reject(
        batch,
        pc.take(pa.array(names, pa.string()), pa.array(verdict_N)),
        where_N=failed_N,
        value=pa.array(value_N, mask=unmeasured_N),
        threshold=pa.array(threshold_N, mask=unmeasured_N),
    )


class _FilterQuality(beam.DoFn):
    def __init__(self, presets: tuple[str, ...]) -> None:
        self._presets = presets
        self._rejected = Metrics.counter("quality", "rejected")
        self._cuts = {number: Metrics.counter("quality", f"lines_{name}") for number, name in CUTS.items()}

    def setup(self) -> None:
        self._memory = Memory()

    def process(self, element: tuple[BatchKey, pa.RecordBatch]) -> Iterator[tuple[BatchKey, pa.RecordBatch]]:
        key, batch = element
        cuts_C = np.zeros(NUM_CUTS, np.int64)
        out = filter_quality(batch, presets=self._presets, memory=self._memory, cuts_C=cuts_C)
        self._rejected.inc(batch.column("rule").null_count - out.column("rule").null_count)
        for number, counter in self._cuts.items():
            counter.inc(int(cuts_C[number]))
        yield key, out


@dataclass(kw_only=True, eq=False)
class FilterQuality(beam.PTransform):
    """Keyed batches to keyed batches; see `filter_quality`."""

    presets: tuple[str, ...]

    def __post_init__(self) -> None:
        chosen_presets(self.presets)

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        quality = beam.ParDo(_FilterQuality(tuple(self.presets)))
        return batches | quality.with_output_types(tuple[BatchKey, pa.RecordBatch])
