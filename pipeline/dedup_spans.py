"""Repeated lines and substrings: jobs over the text of the survivors, for `dedup.lines` and `dedup.substrings`.

    dedup-lines           one unit a group       text -> work/lines: hashes ordered by prefix
    dedup-line-repeats    one unit a partition   slice p of those runs -> work/line-repeats
    dedup-anchors         one unit a group       text -> work/anchors: pieces that mark windows of `min_length` bytes
    dedup-anchor-repeats  one unit a partition   slice p of those runs -> work/anchor-repeats
    dedup-windows         one unit a group       text at repeated anchors -> work/windows: every window there
    dedup-window-repeats  one unit a partition   slice p of those runs -> work/window-repeats

What they find is cut by the stage's last job: `cuts/` names bytes of documents, and whoever reads documents back leaves
those out. A document of which nothing is left is deleted. Memory: 60 bytes for each of SEGMENT hashes, whatever the
corpus and the unit and however many places one of them has (but `dedup.shuffle` brings all places of a partition
together); disk: 24 bytes a line, 0.3 a byte of text for anchors at 200 bytes, 20 a byte of repeated text.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.dedup_clusters import SURVIVORS, Reads, if_made, remove_jobs
from pipeline.dedup_context import DedupContext, Signed
from pipeline.dedup_runs import SEGMENT, RunWriter
from pipeline.dedup_takedown import taken_down
from pipeline.dedup_units import (
    DEDUP_VERSION,
    STAGE,
    SURVIVOR_TABLE,
    partition_pieces,
    signatures_of,
)
from pipeline.job import Job, Units, content_key, each_unit
from pipeline.sections import Lines, Substrings
from transforms.commit import UnitWriter, load_record, load_records
from transforms.committed import map_table, read_batches, read_table
from transforms.runs import PREFIX_BITS
from transforms.schema import DELETIONS
from transforms.spans import (
    ANCHOR,
    ANCHOR_RUN,
    CUTS,
    LINE_RUN,
    REPEATS,
    WINDOW_RUN,
    anchor_spans,
    cut_texts,
    line_spans,
    repeated_anchors,
    repeats,
    repeats_by_piece,
    window_cuts,
    window_spans,
)
from transforms.unit import WorkUnit

Kind = Literal["line", "anchor", "window"]
Opened = Callable[[], pa.Table]
_MOST_KEPT_OPEN = 1 << 13  # partitions, of 65,530 maps that Linux allows: 34 billion lines. More are opened each time
_RUNS = {"line": LINE_RUN, "anchor": ANCHOR_RUN, "window": WINDOW_RUN}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanContext:
    """What the two jobs of one kind need; pickled to the workers."""

    dedup: DedupContext  # of this run's units alone
    kind: Kind

    @property
    def job(self) -> str:
        """The job that makes the runs; its table is `work/` and what stands behind `dedup-`."""
        return f"dedup-{self.kind}s"

    @property
    def repeats_job(self) -> str:
        """The job that finds what is repeated."""
        return f"dedup-{self.kind}-repeats"


def find_repeats(context: RunContext, dedup: DedupContext, alive: dict[str, str]) -> None:
    """Run the jobs that the configuration asks for.

    Args:
        context: of the run.
        dedup: of all runs.
        alive: for each unit of this run a key of its documents and of what is deleted for other reasons than its twins.
    """
    own = dataclasses.replace(dedup, units=tuple(signed for signed in dedup.units if signed.run is None))
    settings_of: dict[Kind, Lines | Substrings | None]
    settings_of = {"line": dedup.lines, "anchor": dedup.substrings, "window": dedup.substrings}
    for kind, settings in settings_of.items():
        given = SpanContext(dedup=own, kind=kind)
        if settings is None:
            remove_jobs(context, given.job, given.repeats_job)
            continue
        used = content_key(DEDUP_VERSION, kind, settings.model_dump())
        units = [
            WorkUnit(group.label, n, content_key(used, [alive[signed.label] for signed in group.units]))
            for n, group in enumerate(own.groups())
        ]
        reads: Reads = (SURVIVORS, *if_made("dedup-anchor-repeats", "work/anchor-repeats", kind == "window"))
        runs = context.run_job(STAGE, Job(given.job, _graph_runs, given, reads), units)
        num_entries = sum(record.counts["spans"] for record in runs.values())
        bits = min(max(num_entries - 1, 0).bit_length() - (SEGMENT.bit_length() - 1), PREFIX_BITS)
        num_partitions = 1 << max(bits, 0)
        given = dataclasses.replace(given, dedup=dataclasses.replace(own, num_partitions=num_partitions))
        key = content_key(used, num_partitions, [signed.first_dense for signed in own.units])
        units = [WorkUnit(f"part-{part:05d}", part, content_key(key, part)) for part in range(num_partitions)]
        reads = ((given.job, f"work/{kind}s"),)
        context.run_job(STAGE, Job(given.repeats_job, _graph_repeats, given, reads), units)


def _write_run(unit: WorkUnit, context: SpanContext) -> None:
    dedup, group = context.dedup, context.dedup.group(unit.name)
    table = f"work/{context.kind}s"
    writer = UnitWriter(dedup.out, context.job, unit)
    run = RunWriter(writer, table, _RUNS[context.kind], SEGMENT)
    for signed in group.units:
        first = np.uint32(signed.first_dense - group.first_dense)
        repeated_R = _repeated(dedup, signed) if context.kind == "window" else np.empty(0, np.uint64)
        for row_N, texts in _surviving_texts(dedup, signed):
            spans = _spans(context, texts, row_N, repeated_R)
            rows = pc.add(spans.column("row"), pa.scalar(first, pa.uint32()))
            run.write(spans.set_column(spans.schema.get_field_index("row"), spans.schema.field("row"), rows))
    run.flush()
    writer.commit({"spans": run.num_entries})


def _spans(
    context: SpanContext, texts: pa.Array, row_N: NDArray[np.uint32], repeated_R: NDArray[np.uint64]
) -> pa.Table:
    if context.kind == "line":
        assert context.dedup.lines is not None
        paragraphs = context.dedup.lines.unit == "paragraph"
        return line_spans(texts, row_N, paragraphs=paragraphs, min_words=context.dedup.lines.min_words)
    assert context.dedup.substrings is not None
    length = context.dedup.substrings.min_length
    if context.kind == "anchor":
        return anchor_spans(texts, row_N, length=length)
    return window_spans(texts, row_N, repeated_R, length=length)


def _repeated(context: DedupContext, signed: Signed) -> NDArray[np.uint64]:
    """Return the repeated anchors of a unit: row << 32 | start, ascending."""
    stop = signed.first_dense + signed.num_documents
    parts = RepeatsInOrder(_repeats_of(context, "anchor"), ANCHOR, stop).between(signed.first_dense, stop)
    row_R = parts.column("dense").to_numpy().astype(np.uint64) - np.uint64(signed.first_dense)
    return np.sort(row_R << np.uint64(32) | parts.column("start").to_numpy())


def _surviving_texts(context: DedupContext, signed: Signed) -> Iterator[tuple[NDArray[np.uint32], pa.Array]]:
    """Yield rows and texts of the documents that nothing else deletes."""
    survivors = map_table(context.out, load_record(context.out, "dedup-clusters", "all"), SURVIVOR_TABLE)
    alive_n = survivors.column("size").slice(signed.first_dense, signed.num_documents).to_numpy() > 0
    alive_n[taken_down(context, signed)[0] - np.uint32(signed.first_dense)] = False
    gone = np.empty(0, np.int64)
    if context.drop_contaminated:
        record = load_record(context.out, "dedup-contaminated", signed.label)
        gone = read_table(context.out, record, "contaminated").column("doc_id").to_numpy()
    row = 0
    for batch in read_batches(signed.out, signed.record(), "documents", columns=("doc_id", "text")):
        kept_N = alive_n[row : row + batch.num_rows] & ~np.isin(batch.column("doc_id").to_numpy(), gone)
        row_N = np.flatnonzero(kept_N)
        yield (row_N + row).astype(np.uint32), batch.column("text").take(pa.array(row_N))
        row += batch.num_rows


def _graph_runs(units: Units, context: SpanContext) -> None:
    each_unit(units, function=_write_run, context=context)


def _write_repeats(unit: WorkUnit, context: SpanContext) -> None:
    def pieces() -> Iterator[tuple[range, list[NDArray[Any]]]]:
        return partition_pieces(context.dedup, unit.number, f"work/{context.kind}s", context.job, SEGMENT)

    keep = context.dedup.lines.keep if context.kind == "line" and context.dedup.lines else 1
    find = functools.partial(_repeats, context)
    _commit_repeats(unit, context, repeats_by_piece(pieces, find, keep=keep, checked=context.kind != "anchor"))


def _repeats(context: SpanContext, columns: Sequence[NDArray[Any]]) -> pa.Table:
    columns = columns or [np.empty(0, field.type.to_pandas_dtype()) for field in _RUNS[context.kind]]
    if context.kind == "anchor":
        return repeated_anchors(*columns)
    if context.kind == "line":
        assert context.dedup.lines is not None
        return repeats(*columns, keep=context.dedup.lines.keep)
    assert context.dedup.substrings is not None
    key_E, check_E, start_E, dense_E = columns
    stop_E = start_E + np.uint32(context.dedup.substrings.min_length)
    return repeats(key_E, check_E, start_E, stop_E, dense_E, keep=1)


def _commit_repeats(unit: WorkUnit, context: SpanContext, found: Iterable[pa.Table]) -> None:
    table = f"work/{context.kind}-repeats"
    writer = UnitWriter(context.dedup.out, context.repeats_job, unit)
    writer.open(table, ANCHOR if context.kind == "anchor" else REPEATS)
    for rows in found:
        writer.write(table, rows)
    writer.commit({})


def _graph_repeats(units: Units, context: SpanContext) -> None:
    if not context.dedup.shuffle:
        each_unit(units, function=_write_repeats, context=context)
        return
    from pipeline import dedup_shuffle  # noqa: PLC0415 - Beam, which the parent of a local run does without

    slices = dedup_shuffle.slices_of_runs(units, context.dedup, [f"work/{context.kind}s"], context.job)
    dedup_shuffle.commit(slices, units, context, _commit_shuffled)


def _commit_shuffled(unit: WorkUnit, context: SpanContext, batches: list[pa.RecordBatch]) -> None:
    from pipeline import dedup_shuffle  # noqa: PLC0415 - Beam

    names = [*_RUNS[context.kind].names[:-1], "dense"]
    _commit_repeats(unit, context, [_repeats(context, dedup_shuffle.columns_of(batches, names))])


@functools.lru_cache(maxsize=2)
def _repeats_of(context: DedupContext, kind: Kind) -> list[Opened]:
    """Return what opens each partition, for all units: it stays open unless there are too many for a process."""
    records = load_records(context.out, f"dedup-{kind}-repeats").values()
    opened = [functools.partial(map_table, context.out, record, f"work/{kind}-repeats") for record in records]
    return [functools.cache(opens) for opens in opened] if len(opened) <= _MOST_KEPT_OPEN else list(opened)


class RepeatsInOrder:
    """The rows of all partitions for some documents after the others, gathered for many documents at once.

    A look into a partition costs 10 us whatever it finds, and each partition holds rows of each unit: of 1 TB a unit
    has 64 batches and looks into 8,192 partitions. So it looks once, if there are SEGMENT rows at most.

    Args:
        partitions: what opens each of them.
        schema: of their rows, which ascend by `dense`, `start`.
        stop: dense index behind the last document that will be asked for.
    """

    def __init__(self, partitions: Sequence[Opened], schema: pa.Schema, stop: int) -> None:
        self._partitions, self._schema, self._stop = partitions, schema, stop
        self._rows, self._dense_R = schema.empty_table(), np.empty(0, np.uint32)
        self._end = 0  # dense index behind the last document whose rows are at hand

    def between(self, first: int, stop: int) -> pa.Table:
        """Return the rows of the documents from dense index `first` to `stop`, ascending; `first` never falls."""
        if stop > self._end:
            self._gather(first, stop)
        start, end = np.searchsorted(self._dense_R, np.array([first, stop], np.uint32))
        return self._rows.slice(start, end - start)

    def _gather(self, first: int, stop: int) -> None:
        """Take the rows of as many documents from `first` on as hold SEGMENT of them, at least those up to `stop`."""
        self._rows, self._dense_R = self._schema.empty_table(), np.empty(0, np.uint32)
        end = self._stop
        while end > stop and (count := sum(to - at for _, at, to in self._places(first, end))) > SEGMENT:
            end = max(stop, first + (end - first) * SEGMENT // count)
        parts = [
            batch.take(pa.array(np.arange(at, to)))  # not sliced: that would hold the file open
            for batch, at, to in self._places(first, end)
        ]
        found = pa.Table.from_batches(parts, self._schema).combine_chunks()
        dense_R, start_R = (found.column(name).to_numpy() for name in ("dense", "start"))
        order_R = np.argsort(dense_R.astype(np.uint64) << np.uint64(32) | start_R, kind="stable")
        self._rows, self._dense_R, self._end = found.take(pa.array(order_R)), dense_R[order_R], end

    def _places(self, first: int, stop: int) -> Iterator[tuple[pa.RecordBatch, int, int]]:
        """Yield the batches with rows of the documents from `first` to `stop`, and where those are."""
        bounds = np.array([first, stop], np.uint32)  # of another type numpy would search a copy of the column
        for opens in self._partitions:
            for batch in opens().to_batches():
                at, to = np.searchsorted(batch.column("dense").to_numpy(), bounds).tolist()
                if at < to:
                    yield batch, at, to


def cuts_of_unit(
    context: DedupContext, signed: Signed, deleted_D: NDArray[np.int64]
) -> Iterator[tuple[pa.Table, pa.Table, int]]:
    """Yield for each batch of documents CUTS, DELETIONS of documents of which nothing is left, and the bytes cut.

    Nothing is cut from the documents `deleted_D`.
    """
    end = signed.first_dense + signed.num_documents
    lines = RepeatsInOrder(_repeats_of(context, "line") if context.lines else [], REPEATS, end)
    windows = RepeatsInOrder(_repeats_of(context, "window") if context.substrings else [], REPEATS, end)
    row = 0
    for batch in read_batches(signed.out, signed.record(), "documents", columns=("doc_id", "text")):
        first, texts = signed.first_dense + row, batch.column("text")
        row += batch.num_rows
        found = lines.between(first, first + batch.num_rows)
        dense_S, start_S, stop_S, twin_S = (column.to_numpy() for column in found.columns[:4])
        row_S = dense_S.astype(np.int64) - first
        num_lines = len(row_S)
        if context.substrings is not None:
            repeated = windows.between(first, first + batch.num_rows)
            row_W, start_W, stop_W, twin_W = window_cuts(repeated, texts, first, length=context.substrings.min_length)
            row_S, twin_S = np.concatenate((row_S, row_W)), np.concatenate((twin_S, twin_W))
            start_S, stop_S = np.concatenate((start_S, start_W)), np.concatenate((stop_S, stop_W))
        reason_S = np.repeat(np.array(["lines", "substrings"], object), [num_lines, len(row_S) - num_lines])
        order_S = np.lexsort((start_S, row_S))  # stable: lines first
        gone_N = np.isin(batch.column("doc_id").to_numpy(), deleted_D)
        order_S = order_S[(start_S[order_S] < stop_S[order_S]) & ~gone_N[row_S[order_S]]]
        row_S, start_S, stop_S = row_S[order_S], start_S[order_S], stop_S[order_S]
        cut = cut_texts(texts, row_S, start_S, stop_S)
        before_N, after_N = (pc.binary_length(column).to_numpy() for column in (texts, cut))
        doc_id_S, twin_id_S = batch.column("doc_id").to_numpy()[row_S], signatures_of(context).doc_id(twin_S[order_S])
        cuts = pa.table([doc_id_S, start_S, stop_S, pa.array(reason_S[order_S], pa.string()), twin_id_S], schema=CUTS)
        empty_S = after_N[row_S] == 0
        emptied = cuts.take(pa.array(np.flatnonzero(empty_S)[np.unique(row_S[empty_S], return_index=True)[1]]))
        nothing = [pa.nulls(emptied.num_rows, field.type) for field in list(DELETIONS)[3:]]
        deleted = [*(emptied.column(name).combine_chunks() for name in ("doc_id", "reason", "twin_id")), *nothing]
        num_bytes = int((before_N - after_N)[after_N > 0].sum())
        yield cuts.filter(pa.array(~empty_S)), pa.table(deleted, schema=DELETIONS), num_bytes
