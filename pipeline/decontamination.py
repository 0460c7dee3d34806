"""Decontamination: the surviving documents that share n-grams with evaluation sets, and a report for each example.

    dedup-ngrams        one unit               evaluation sets -> work/ngrams, work/examples
    dedup-contaminated  one unit a clean unit  text of survivors -> contaminated/: documents and examples that overlap
    dedup-evaluation    one unit               -> evaluation/: for each example how many documents overlap, and how far

With `action: drop` the stage's last job adds the documents to deletions/: reason `contaminated`, twin_run
`evaluation:SET`, twin_id the record of the set, similarity the share of the example's n-grams.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from pipeline.context import RunContext
from pipeline.dedup_clusters import SURVIVORS, Reads, remove_jobs
from pipeline.dedup_context import DedupContext
from pipeline.dedup_units import DEDUP_VERSION, SURVIVOR_TABLE
from pipeline.errors import UserError
from pipeline.job import Job, Units, content_key, each_unit
from pipeline.plan import READ_VERSION
from pipeline.sections import Decontaminate
from transforms.commit import UnitWriter, load_record, load_records
from transforms.committed import map_table, read_batches, read_table
from transforms.counts import add_counts
from transforms.decontamination import CONTAMINATED, EXAMPLES, NGRAMS, ngram_index, ngram_table, overlaps
from transforms.readers.dispatch import read_slice
from transforms.readers.listing import list_files
from transforms.readers.source import Source
from transforms.schema import alive_mask
from transforms.unit import Slice, WorkUnit

STAGE = "dedup"
JOBS = ("dedup-ngrams", "dedup-contaminated", "dedup-evaluation")

REPORT = pa.schema(
    [
        *EXAMPLES,
        pa.field("documents", pa.uint32(), nullable=False),  # that share an n-gram with the example
        pa.field("share", pa.float32(), nullable=False),  # of its n-grams, in the document that has most of them
    ]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecontaminationContext:
    """What the three jobs need; pickled to the workers."""

    dedup: DedupContext
    sets: tuple[Source, ...]
    files: tuple[Slice, ...]
    ngram: int


def find_contaminated(context: RunContext, dedup: DedupContext) -> dict[str, str]:
    """Run the three jobs and return a key of what each unit has; without evaluation sets they have no units.

    Raises:
        UserError: an evaluation set cannot be found, or none of its examples can be.
    """
    settings = context.config.dedup.decontaminate
    if settings is None:
        remove_jobs(context, *JOBS)
        return {}
    files = tuple(evaluation_files(settings))
    given = DecontaminationContext(dedup=dedup, sets=settings.sets, files=files, ngram=settings.ngram)
    options = [dataclasses.asdict(source) for source in settings.sets]
    key = content_key(DEDUP_VERSION, READ_VERSION, files, options, settings.ngram)
    ngrams = context.run_job(STAGE, Job("dedup-ngrams", _graph_ngrams, given), [WorkUnit("all", 0, key)])
    _check_sets(settings, ngrams["all"].counts["evaluation_sets"])
    units = [
        WorkUnit(signed.label, number, content_key(DEDUP_VERSION, settings.ngram, signed.documents, signed.first_dense))
        for number, signed in enumerate(dedup.units)
        if signed.run is None
    ]
    reads: Reads = (("dedup-ngrams", "work/ngrams"), ("dedup-ngrams", "work/examples"), SURVIVORS)
    found = context.run_job(STAGE, Job("dedup-contaminated", _graph_contaminated, given, reads), units)
    reads = (("dedup-ngrams", "work/examples"), ("dedup-contaminated", "contaminated"))
    whole = [WorkUnit("all", 0, content_key(DEDUP_VERSION))]
    context.run_job(STAGE, Job("dedup-evaluation", _graph_report, given, reads), whole)
    return {name: record.tables["contaminated"].hash for name, record in found.items()}


def evaluation_files(settings: Decontaminate) -> Iterator[Slice]:
    """Yield the files of the evaluation sets.

    Raises:
        UserError: a set cannot be found.
    """
    for source in settings.sets:
        try:
            entries = list_files(source)
        except (ValueError, OSError) as error:
            raise UserError(f"dedup.decontaminate {source.name}: {error}") from None
        yield from (
            Slice(source.name, entry.path, file, 0, 0, -1, entry.size, entry.etag) for file, entry in enumerate(entries)
        )


def _check_sets(settings: Decontaminate, counts_by_set: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse a set without a single n-gram: nothing would ever be found, and a gate would call that clean."""
    for source in settings.sets:
        counts = counts_by_set[source.name]
        if counts["read"] == counts["unreadable"] + counts["too_short"]:
            raise UserError(
                f"dedup.decontaminate {source.name}: no example can be used; {counts['read']:,} records read,"
                f" {counts['unreadable']:,} without text in the field {source.text!r},"
                f" {counts['too_short']:,} shorter than {settings.ngram} words (ngram)"
            )


def _write_ngrams(unit: WorkUnit, context: DecontaminationContext) -> None:
    writer = UnitWriter(context.dedup.out, "dedup-ngrams", unit)
    writer.open("work/ngrams", NGRAMS)
    writer.open("work/examples", EXAMPLES)
    sources, row = {source.name: source for source in context.sets}, 0
    numbers = dict.fromkeys(sources, 0)
    counts_by_set = {name: {"read": 0, "unreadable": 0, "too_short": 0} for name in sources}
    for part in context.files:
        for batch in read_slice(sources[part.source], part):
            number_N = np.arange(numbers[part.source], numbers[part.source] + batch.num_rows)
            numbers[part.source] += batch.num_rows
            alive_N = alive_mask(batch)
            batch, number_N = batch.filter(pa.array(alive_N)), number_N[alive_N]  # noqa: PLW2901
            ngrams, count_N = ngram_table(batch.column("text"), row, context.ngram)
            found = {"read": len(alive_N), "unreadable": (~alive_N).sum(), "too_short": (count_N == 0).sum()}
            add_counts(counts_by_set[part.source], {name: int(count) for name, count in found.items()})
            row += batch.num_rows
            writer.write("work/ngrams", ngrams)
            columns = [batch.column("source"), number_N, batch.column("location"), count_N]
            writer.write("work/examples", pa.table(columns, schema=EXAMPLES))
    writer.commit({"examples": row, "evaluation_sets": counts_by_set})


def _graph_ngrams(units: Units, context: DecontaminationContext) -> None:
    each_unit(units, function=_write_ngrams, context=context)


def _write_contaminated(unit: WorkUnit, context: DecontaminationContext) -> None:
    dedup = context.dedup
    signed, ngrams = dedup.named(unit.name), load_record(dedup.out, "dedup-ngrams", "all")
    index = ngram_index(read_table(dedup.out, ngrams, "work/ngrams"))
    count_G = read_table(dedup.out, ngrams, "work/examples").column("ngrams").to_numpy()
    survivors = map_table(dedup.out, load_record(dedup.out, "dedup-clusters", "all"), SURVIVOR_TABLE)
    alive_n = survivors.column("size").slice(signed.first_dense, signed.num_documents).to_numpy() > 0
    writer = UnitWriter(dedup.out, "dedup-contaminated", unit)
    writer.open("contaminated", CONTAMINATED)
    row, num_documents = 0, 0
    for batch in read_batches(signed.out, signed.record(), "documents", columns=("doc_id", "text")):
        kept = batch.filter(pa.array(alive_n[row : row + batch.num_rows]))
        row += batch.num_rows
        row_H, example_H, shared_H = overlaps(kept.column("text"), index, context.ngram)
        share_H = (shared_H / count_G[example_H]).astype(np.float32)
        doc_id_H = kept.column("doc_id").to_numpy()[row_H]
        num_documents += len(np.unique(doc_id_H))
        writer.write("contaminated", pa.table([doc_id_H, example_H, shared_H, share_H], schema=CONTAMINATED))
    writer.commit({"contaminated": num_documents})


def _graph_contaminated(units: Units, context: DecontaminationContext) -> None:
    each_unit(units, function=_write_contaminated, context=context)


def _write_report(unit: WorkUnit, context: DecontaminationContext) -> None:
    out = context.dedup.out
    examples = read_table(out, load_record(out, "dedup-ngrams", "all"), "work/examples")
    documents_G, share_G = np.zeros(examples.num_rows, np.uint32), np.zeros(examples.num_rows, np.float32)
    for record in load_records(out, "dedup-contaminated").values():
        found = read_table(out, record, "contaminated")
        example_H = found.column("example").to_numpy()
        np.add.at(documents_G, example_H, 1)
        np.maximum.at(share_G, example_H, found.column("share").to_numpy())
    writer = UnitWriter(out, "dedup-evaluation", unit)
    writer.open("evaluation", REPORT)
    writer.write("evaluation", pa.table([*examples.columns, documents_G, share_G], schema=REPORT))
    hit = int(np.count_nonzero(documents_G))
    short = int(np.count_nonzero(examples.column("ngrams").to_numpy() == 0))
    writer.commit({"examples_found": hit, "examples_too_short": short})


def _graph_report(units: Units, context: DecontaminationContext) -> None:
    each_unit(units, function=_write_report, context=context)
