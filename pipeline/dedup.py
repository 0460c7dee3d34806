"""Stage two: from signatures/ to deletions/ in jobs over committed files. No text is shuffled.

    dedup-runs        one unit a group         signatures/ -> work/exact, work/bands, work/url: hashes ordered by prefix
    dedup-identity    one unit a partition     slice p of the exact and URL runs -> work/equal, work/older: edges
    dedup-origins     one unit                 those edges -> work/origins: the document that stands for each copy
    dedup-candidates  one unit a partition     only for verify: jaccard: slice p of the band runs -> work/candidates
    dedup-shingles    one unit a group         only for verify: jaccard: text of candidates -> work/shingles
    dedup-links       one unit a partition     slice p of the band runs, without copies -> work/edges: verified pairs
    dedup-clusters    one unit                 all edges -> work/survivors: the survivor of every document
    dedup-ngrams ...  only for decontaminate: see `decontamination.py`
    dedup-takedown    only for takedown: see `dedup_takedown.py`
    dedup-lines ...   only for lines and substrings: see `dedup_spans.py`
    dedup             one unit a clean unit    -> deletions/, clusters/, rejected/, cuts/
    dedup-superseded  one unit an earlier one  only for policy: new: -> superseded/: what this run replaces there

A group is a clean unit, or some of them where there are thousands (`dedup_context.py`).
Here a document is its dense index: its rank by run (`dedup.against` first while the old win), then by source priority
(highest first), then doc_id. The survivor of a cluster is the smallest dense index, whatever the number of workers and
partitions. The functions of the units are in `dedup_units.py`, those of the last two jobs in `dedup_deletions.py`; with
`dedup.shuffle` some jobs are those of `dedup_shuffle.py` instead.
"""

import dataclasses
from collections.abc import Sequence

from pipeline.clean import minhash_parameters
from pipeline.context import RunContext
from pipeline.decontamination import JOBS as DECONTAMINATION_JOBS
from pipeline.decontamination import find_contaminated
from pipeline.dedup_clusters import ORIGINS, SURVIVORS, compared, find_clusters, if_made
from pipeline.dedup_context import DedupContext, Signed
from pipeline.dedup_deletions import deleted_there, graph_deletions, graph_superseded
from pipeline.dedup_earlier import EarlierRun, by_priority, load_earlier
from pipeline.dedup_spans import find_repeats
from pipeline.dedup_takedown import find_taken_down, list_hash
from pipeline.dedup_units import DEDUP_VERSION
from pipeline.errors import UserError
from pipeline.job import Job, content_key
from pipeline.run_state import summarise
from transforms.commit import Record, load_records
from transforms.committed import map_table
from transforms.dedup import MAX_DOCUMENTS
from transforms.fingerprint import check_metadata
from transforms.unit import WorkUnit, planned_name

STAGE = "dedup"


def run(context: RunContext) -> None:
    """Bring deletions/ to the state that the configuration asks for."""
    config = context.config.dedup
    listed = list_hash(config.takedown)
    records = load_records(context.out, "clean")
    earlier = [load_earlier(out, config, context.out) for out in config.against]
    dedup = _number(context, records, earlier)
    _check_size(dedup)
    _check_signatures(dedup)
    if config.shuffle and context.config.runner.engine == "local":
        raise UserError("dedup.shuffle needs a Beam runner: the local engine gives each worker one unit at a time")
    if earlier and (config.lines or config.substrings):
        context.say("dedup: lines and substrings are compared within this run; of earlier ones no text is read")
    hashed = content_key(
        DEDUP_VERSION, dedup.exact, dedup.url, dedup.parameters and dataclasses.asdict(dedup.parameters)
    )
    settings = content_key(hashed, config.model_dump(exclude={"decontaminate", "takedown", "lines", "substrings"}))

    dedup = find_clusters(context, dedup, hashed, settings)
    contaminated = find_contaminated(context, dedup)
    drop = config.decontaminate is not None and config.decontaminate.action == "drop"
    dedup, taken_down = find_taken_down(context, dataclasses.replace(dedup, drop_contaminated=drop), listed)
    alive = {
        signed.label: content_key(
            settings,
            signed.contents,
            signed.documents,
            signed.first_dense,
            contaminated[signed.label] if drop else "",
            taken_down[signed.label],
        )
        for signed in dedup.units
        if signed.run is None
    }
    dedup = dataclasses.replace(dedup, alive_key=content_key(list(alive.items())))
    find_repeats(context, dedup, alive)
    # Twins and similarities are of other units: the ids of their documents and their signatures are stored.
    units = [WorkUnit(name, records[name].number, content_key(key, dedup.contents_key)) for name, key in alive.items()]
    units.sort(key=lambda unit: unit.number)
    reads = (
        *(SURVIVORS, ORIGINS, *compared(dedup)),
        *if_made("dedup-ngrams", "work/examples", drop),
        *if_made("dedup-line-repeats", "work/line-repeats", config.lines),
        *if_made("dedup-window-repeats", "work/window-repeats", config.substrings),
    )
    entry = summarise(context.run_job(STAGE, Job(STAGE, graph_deletions, dedup, reads), units).values())
    units = [
        WorkUnit(signed.label, number, content_key(settings, dedup.contents_key, deleted_there(signed)))
        for number, signed in enumerate(dedup.units)
        if signed.run is not None and config.policy == "new"
    ]
    reads = (SURVIVORS, ORIGINS, *compared(dedup))
    context.run_job(STAGE, Job("dedup-superseded", graph_superseded, dedup, reads), units)
    told = ("dedup-identity", "dedup-links", "dedup-clusters", *DECONTAMINATION_JOBS, "dedup-superseded")
    for job, found in context.committed.items():
        if job in told:
            entry["counts"] |= summarise(found.values())["counts"]
        if job.startswith("dedup-"):
            entry["seconds"] += summarise(found.values())["seconds"]
    context.set_stage(STAGE, entry | {"earlier_units": len(units), "seconds": round(entry["seconds"], 3)})


def _number(context: RunContext, records: dict[str, Record], earlier: Sequence[EarlierRun]) -> DedupContext:
    """Number the documents of all runs densely."""
    config = context.config
    priority = {source.name: source.priority for source in config.sources}
    source_of = {unit.name: unit.slices[0].source for unit in context.state.plan.units}
    own = by_priority({name: priority[source_of[planned_name(name)]] for name in records}, records)
    ranked = [(context.out, None, "", record, level) for record, level in own]
    old = [
        (run.out, run.out, f"@{number}.", record, level)
        for number, run in enumerate(earlier)
        for record, level in zip(run.records, run.priorities, strict=True)
    ]
    units, position, levels = [], 0, []
    for out, run, prefix, record, level in [*old, *ranked] if config.dedup.policy == "old" else [*ranked, *old]:
        levels.append((run, level))
        units.append(
            Signed(
                out=out,
                run=run,
                unit=record.unit,
                label=prefix + record.unit,
                first_dense=position,
                num_documents=record.rows("signatures"),
                level=len(set(levels)) - 1,
                contents=record.tables["signatures"].hash,
                documents=record.tables["documents"].hash,
            )
        )
        position += record.rows("signatures")
    minhash = config.dedup.minhash
    return DedupContext(
        out=context.out,
        exact=config.dedup.exact,
        url=config.dedup.url,
        shuffle=config.dedup.shuffle,
        parameters=minhash_parameters(config),
        threshold=minhash.threshold if minhash else 1.0,
        verify=minhash.verify if minhash else "none",
        units=tuple(units),
        num_documents=position,
        contents_key=content_key([(unit.label, unit.first_dense, unit.level, unit.contents) for unit in units]),
        lines=config.dedup.lines,
        substrings=config.dedup.substrings,
    )


def _check_size(dedup: DedupContext) -> None:
    """Refuse more documents than there are dense indices."""
    if dedup.num_documents > MAX_DOCUMENTS:
        runs = len({signed.run for signed in dedup.units})
        there = f" in {runs} runs, those of dedup.against included" if runs > 1 else ""
        raise UserError(
            f"dedup: {dedup.num_documents:,} documents{there}, and one run numbers {MAX_DOCUMENTS:,} at most;"
            " cut the sources into several runs"
        )


def _check_signatures(dedup: DedupContext) -> None:
    """Refuse signatures of earlier runs that were made in another way."""
    for signed in dedup.units:
        if signed.run is not None:
            schema = map_table(signed.out, signed.record(), "signatures").schema
            try:
                check_metadata(schema, dedup.parameters)
            except ValueError as error:
                raise UserError(f"dedup.against {signed.run}: {error}") from None
