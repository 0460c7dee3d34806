"""Quality rules: presets and thresholds of one's own, applied to batches; and all statistics of a document as columns.

Presets are those of `transforms.presets`; tokens are those of `transforms.kernels.tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.kernels.c4 import pack
from transforms.kernels.c4_line import NUM_CUTS
from transforms.kernels.characters import by_character_table, character_table
from transforms.kernels.lexicon import NUM_ROWS, intern_all
from transforms.kernels.quality import C4, C4_TFDS, GOPHER_QUALITY, judge
from transforms.kernels.room import enlarged, new_lexicon, new_room
from transforms.kernels.statistics import NUM_STATISTICS, STATISTICS
from transforms.kernels.strings import string_array, string_views
from transforms.presets import NEVER, PRESETS, Choice, Part, ThresholdRule, Words, check_rules, chosen_presets
from transforms.schema import STATISTIC, alive_mask, count_edits, reject, set_column

STATISTIC_NAMES = (*STATISTICS, "language_score")  # which the statistics rules may name

_MAX_TOKENS, _MAX_LINES = 1 << 18, 1 << 16  # of a document, to keep room for in the next batch
_MAX_RULES = max(len(part.rules) for preset in PRESETS.values() for part in (preset, *preset.then))


class Memory:
    """What the rules remember from batch to batch: how chunks split. It saves time and changes nothing else.

    Args:
        words: how they are counted, see `transforms.presets`.
        max_rows: with more strings than this after a batch it starts afresh. 2**19 are 80 MB, and the chunks of 60 to
            100 MB of English.
    """

    def __init__(self, *, words: Words = "english", max_rows: int = 1 << 19) -> None:
        self.words = words
        self.max_rows = max_rows
        self._others: dict[Words, Memory] = {}
        self.forget()

    def of(self, words: Words) -> "Memory":
        """Return the memory for another way to count words."""
        if words == self.words:
            return self
        if words not in self._others:
            self._others[words] = Memory(words=words, max_rows=self.max_rows)
        return self._others[words]

    def forget(self) -> None:
        """Start afresh."""
        self.lexicon = new_lexicon(by_character_table() if self.words == "character" else character_table())
        self.room = new_room(len(self.lexicon.rows_R))

    def trim(self) -> None:
        """Give back what a huge document has taken, and start afresh with too many strings."""
        if self.lexicon.used[NUM_ROWS] > self.max_rows:
            self.forget()
        elif len(self.room.first.tokens_T) > _MAX_TOKENS or len(self.room.first.hashes_L) > _MAX_LINES:
            self.room = new_room(len(self.lexicon.rows_R))

    def rows(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Return the rows of some strings in the lexicon, entered if need be; int32, sorted."""
        encoded = [word.encode() for word in words]
        rows_W = np.empty(len(words), np.int32)
        text = np.frombuffer(b"".join(encoded), np.uint8).copy()
        while full := intern_all(self.lexicon, text, np.cumsum([0, *map(len, encoded)]), rows_W):
            self.enlarge(-full)
        return np.unique(rows_W)

    def enlarge(self, full: int) -> None:
        """Make the array larger that a kernel found full."""
        self.lexicon, self.room = enlarged(self.lexicon, self.room, full)


@dataclass(frozen=True)
class _Thresholds:
    """Thresholds and stop words of a chain of presets, for the languages that have their own."""

    labels: tuple[str, ...]
    thresholds_VPQ: NDArray[np.float64]
    stop_words: tuple[tuple[str, ...], ...]  # of variant v and preset p, at v * P + p

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "_Thresholds":
        labels = tuple(dict.fromkeys(label for part in parts for label in part.languages))
        thresholds_VPQ = np.full((len(labels) + 1, len(parts), _MAX_RULES), NEVER)
        stop_words = []
        for v, label in enumerate((None, *labels)):
            for p, part in enumerate(parts):
                values = part.languages.get(label) if label else None
                own = values.thresholds if values else {}
                for q, (name, threshold) in enumerate(part.preset.rules):
                    thresholds_VPQ[v, p, q] = own.get(name, threshold)
                has_words = values is not None and part.preset.kind == GOPHER_QUALITY
                stop_words.append(values.stop_words if values and has_words else ())
        return cls(labels, thresholds_VPQ, tuple(stop_words))

    def stop_rows(self, memory: Memory) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the rows of all stop words, and where those of each variant and preset begin."""
        rows = [memory.rows(words) for words in self.stop_words]
        return np.concatenate([*rows, np.empty(0, np.int32)]), np.cumsum([0, *map(len, rows)])


def variants(language: pa.Array, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return int64 [N]: which of `labels`, from 1, each language is, itself or by what stands before its hyphen; or 0.

    A language is a label of the detector: zh is zh-cn and zh-tw, fra is fra_Latn, unless these have their own.
    """
    number = {label: v for v, label in enumerate(labels, 1)}
    encoded = language.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    known = [number.get(name, number.get(name.replace("_", "-").partition("-")[0], 0)) for name in names]
    return np.array([*known, 0])[pc.fill_null(encoded.indices, len(names)).to_numpy()]


def filter_quality(
    batch: pa.RecordBatch,
    *,
    presets: Sequence[str | Choice] = (),
    rules: Sequence[ThresholdRule] = (),
    keep_statistics: bool = False,
    memory: Memory | None = None,
) -> pa.RecordBatch:
    """Return `batch` with the living rows that fail a rule rejected by the first that they fail.

    First come `rules`, on the statistics of the text as it came; then the presets in the order given. c4-fineweb and
    c4-tfds cut lines, and presets after them see what is left. The text of a row that lives is rewritten then, that of
    a rejected row is not. Lines cut are counted as edits.

    Args:
        batch: rows of schema IN_FLIGHT.
        presets: names of PRESETS, or choices.
        rules: on STATISTIC_NAMES. A statistic of nothing (the mean word length of no words) fails none.
        keep_statistics: append a column `statistic.<name>` (double) for each of STATISTICS, null in rows that were
            rejected before.
        memory: to be kept from batch to batch by one thread; a new one by default.

    Raises:
        ValueError: a name that is no preset, rule or statistic.
    """
    parts = chosen_presets(presets)
    check_rules(rules, STATISTIC_NAMES)
    memory = memory or Memory()
    measured = keep_statistics or any(rule.statistic in STATISTICS for rule in rules)
    statistics_NS = np.full((batch.num_rows if measured else 0, NUM_STATISTICS), np.nan)
    groups = [(words, tuple(group)) for words, group in groupby(parts, key=lambda part: part.words)]
    (words, group), *more = groups or [("english", ())]
    before = batch
    batch = _judged(_reject_low_scores(batch, parts), group, rules, memory.of(words), statistics_NS)
    for words, group in more:
        batch = _judged(batch, group, (), memory.of(words), statistics_NS[:0])
    if more:
        text = pc.if_else(pc.is_null(batch.column("rule")), batch.column("text"), before.column("text"))
        batch = set_column(batch, "text", text)
    if keep_statistics:
        for name, values_N in zip(STATISTICS, statistics_NS.T, strict=True):
            batch = batch.append_column(STATISTIC + name, pa.array(values_N, pa.float64(), from_pandas=True))
    return batch


def _judged(
    batch: pa.RecordBatch,
    parts: tuple[Part, ...],
    rules: Sequence[ThresholdRule],
    memory: Memory,
    statistics_NS: NDArray[np.float64],
) -> pa.RecordBatch:
    """Apply presets that count words alike, and rules on the statistics that are measured before them."""
    offsets_N1, bytes_M = string_views(batch.column("text"))
    original = bytes_M[offsets_N1[0] : offsets_N1[-1]]
    text, offsets_N1 = original.copy(), offsets_N1 - offsets_N1[0]
    alive_N = alive_mask(batch)
    chain = _Thresholds.of(parts)
    variant_N = variants(batch.column("language"), chain.labels)
    kinds_P = np.array([part.preset.kind for part in parts], np.int64)
    num_rows = batch.num_rows
    preset_N, rule_N = np.full(num_rows, -1, np.int64), np.full(num_rows, -1, np.int64)
    value_N, stop_N = np.zeros(num_rows), offsets_N1[1:].copy()
    cuts_PNC = np.zeros((len(parts), num_rows, NUM_CUTS), np.int32)
    stop_rows_W, stop_rows_VP1 = chain.stop_rows(memory)
    done = 0
    while done < num_rows:
        arguments = (offsets_N1, text, ~alive_N, kinds_P, variant_N, chain.thresholds_VPQ, stop_rows_W, stop_rows_VP1)
        written = (preset_N, rule_N, value_N, stop_N, cuts_PNC, statistics_NS)
        done, full = judge(memory.lexicon, memory.room, *arguments, done, *written)
        if full:
            text[offsets_N1[done] :] = original[offsets_N1[done] :]
            memory.enlarge(full)
    memory.trim()
    batch = _reject_by_statistics(batch, rules, statistics_NS)
    failed_N = rule_N >= 0
    if np.isin(kinds_P, (C4, C4_TFDS)).any():
        rewritten_N = alive_mask(batch) & ~failed_N
        out_offsets_N1, out_M = np.empty_like(offsets_N1), np.empty_like(original)
        pack(original, text, offsets_N1, stop_N, rewritten_N, out_offsets_N1, out_M)
        batch = set_column(batch, "text", string_array(out_offsets_N1, out_M))
        for part, cuts_NC in zip(parts, cuts_PNC, strict=True):
            batch = count_edits(batch, {f"lines.{name}": cuts_NC[:, c] for c, name in enumerate(part.preset.cuts)})
    if failed_N.any():
        preset_N, rule_N = np.where(failed_N, preset_N, 0), np.where(failed_N, rule_N, 0)
        names_PQ = np.full((len(parts), _MAX_RULES), "", object)
        for p, part in enumerate(parts):
            names_PQ[p, : len(part.preset.rules)] = [name for name, _ in part.preset.rules]
        threshold_N = chain.thresholds_VPQ[variant_N, preset_N, rule_N]
        unmeasured_N = np.isnan(threshold_N)
        batch = reject(
            batch,
            pa.array(names_PQ[preset_N, rule_N], pa.string()),
            where_N=failed_N,
            value=pa.array(value_N, mask=unmeasured_N),
            threshold=pa.array(threshold_N, mask=unmeasured_N),
        )
    return batch


def _reject_low_scores(batch: pa.RecordBatch, parts: Sequence[Part]) -> pa.RecordBatch:
    """Reject rows whose language scores less than a preset asks for in this language."""
    scores = {label: values.language_score for part in parts for label, values in part.languages.items()}
    least = {label: score for label, score in scores.items() if score is not None}
    if not least:
        return batch
    variant_N = variants(batch.column("language"), tuple(least))
    threshold_N = np.array([np.nan, *least.values()])[variant_N]
    score_N = batch.column("language_score").cast(pa.float64()).to_numpy(zero_copy_only=False)
    return reject(batch, "language", where_N=score_N < threshold_N, value=score_N, threshold=threshold_N)


def _reject_by_statistics(
    batch: pa.RecordBatch, rules: Sequence[ThresholdRule], statistics_NS: NDArray[np.float64]
) -> pa.RecordBatch:
    """Reject rows by thresholds of one's own; NaN fails none."""
    for rule in rules:
        if rule.statistic in STATISTICS:
            value_N = statistics_NS[:, STATISTICS.index(rule.statistic)]
        else:
            value_N = batch.column(rule.statistic).cast(pa.float64()).to_numpy(zero_copy_only=False)
        name = rule.name or rule.statistic
        if rule.min is not None:
            batch = reject(batch, name, where_N=value_N < rule.min, value=value_N, threshold=float(rule.min))
        if rule.max is not None:
            batch = reject(batch, name, where_N=value_N > rule.max, value=value_N, threshold=float(rule.max))
    return batch


# Memories of this process that no batch uses. A local worker runs a pipeline for each unit, and what has been seen in
# one unit comes again in the next: with a new memory for each unit of 16 MB the rules took twice the time.
_SPARE: list[Memory] = []


@dataclass(frozen=True, kw_only=True)
class FilterQuality:
    """The step of the clean stage; see `filter_quality`, whose mistakes it tells when it is made."""

    presets: tuple[str | Choice, ...] = ()
    rules: tuple[ThresholdRule, ...] = ()
    keep_statistics: bool = False

    def __post_init__(self) -> None:
        chosen_presets(self.presets)
        check_rules(self.rules, STATISTIC_NAMES)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            memory = _SPARE.pop()
        except IndexError:
            memory = Memory()
        out = filter_quality(
            batch, presets=self.presets, rules=self.rules, keep_statistics=self.keep_statistics, memory=memory
        )
        _SPARE.append(memory)
        return out
