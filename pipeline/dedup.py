"""Stage two: from signatures/ to deletions/ in jobs over committed files. No text is shuffled.

    dedup-runs        one unit a clean unit    signatures/ -> work/exact, work/bands, work/url: hashes ordered by prefix
    dedup-identity    one unit a partition     slice p of the exact and URL runs -> work/equal, work/older: edges
    dedup-origins     one unit                 those edges -> work/origins: the document that stands for each copy
    dedup-candidates  one unit a partition     only for verify: jaccard: slice p of the band runs -> work/candidates
    dedup-shingles    one unit a clean unit    only for verify: jaccard: text of candidates -> work/shingles
    dedup-links       one unit a partition     slice p of the band runs, without copies -> work/edges: verified pairs
    dedup-clusters    one unit                 all edges -> work/survivors: the survivor of every document
    dedup-ngrams ...  only for decontaminate: see `decontamination.py`
    dedup-takedown    only for takedown: see `dedup_takedown.py`
    dedup-lines ...   only for lines and substrings: see `dedup_spans.py`
    dedup             one unit a clean unit    -> deletions/, clusters/, rejected/, cuts/
    dedup-superseded  one unit an earlier one  only for policy: new: -> superseded/: what this run replaces there

Here a document is its dense index: its rank by run (`dedup.against` first while the old win), then by source priority
(highest first), then doc_id. The survivor of a cluster is the smallest dense index, whatever the number of workers and
partitions. The functions of the units are in `dedup_units.py`, those of the last two jobs in `dedup_deletions.py`; with
`dedup.shuffle` some jobs are those of `dedup_shuffle.py` instead.
"""

import dataclasses
from collections.abc import Sequence

from pipeline import dedup_shuffle
from pipeline.clean import minhash_parameters
from pipeline.context import RunContext, upstream_key
from pipeline.decontamination import find_contaminated
from pipeline.dedup_deletions import deleted_there, graph_deletions, graph_superseded
from pipeline.dedup_earlier import EarlierRun, by_priority, load_earlier
from pipeline.dedup_runs import graph_runs
from pipeline.dedup_spans import find_repeats
from pipeline.dedup_takedown import find_taken_down, list_hash
from pipeline.dedup_units import (
    SURVIVOR_TABLE,
    DedupContext,
    Signed,
    graph_candidates,
    graph_clusters,
    graph_identity,
    graph_links,
    graph_origins,
    graph_shingles,
)
from pipeline.errors import UserError
from pipeline.job import Job, content_key
from pipeline.run_state import summarise
from transforms.commit import Record, load_records, map_table
from transforms.dedup import PREFIX_BITS
from transforms.fingerprint import check_metadata
from transforms.unit import WorkUnit, planned_name

STAGE = "dedup"
DEDUP_VERSION = 3  # raised when deletions or ledger change for the same signatures and configuration

_PARTITION_ENTRIES = 1 << 22  # 36 bytes an entry while it is linked: 150 MB a worker


def run(context: RunContext) -> None:
    """Bring deletions/ to the state that the configuration asks for."""
    config = context.config.dedup
    listed = list_hash(config.takedown)
    records = load_records(context.out, "clean")
    earlier = [load_earlier(out, config, context.out) for out in config.against]
    dedup = _number(context, records, earlier)
    _check_signatures(dedup)
    if config.shuffle and context.config.runner.engine == "local":
        raise UserError("dedup.shuffle needs a Beam runner: the local engine gives each worker one unit at a time")
    if earlier and (config.lines or config.substrings):
        context.say("dedup: lines and substrings are compared within this run; of earlier ones no text is read")
    hashed = content_key(
        DEDUP_VERSION, dedup.exact, dedup.url, dedup.parameters and dataclasses.asdict(dedup.parameters)
    )
    settings = content_key(hashed, config.model_dump(exclude={"decontaminate", "takedown", "lines", "substrings"}))

    # Runs know nothing of thresholds and policies. The documents matter for their URLs alone.
    units = [WorkUnit(signed.label, number,
                      content_key(hashed, signed.contents, signed.documents if dedup.url else ""))
             for number, signed in enumerate(dedup.units)]  # fmt: skip
    runs = context.run_job(STAGE, Job("dedup-runs", graph_runs, dedup), units)
    num_entries = max(sum(record.counts[kind] for record in runs.values()) for kind in ("exact", "bands", "url"))
    bits = min(max(num_entries - 1, 0).bit_length() - (_PARTITION_ENTRIES.bit_length() - 1), PREFIX_BITS)
    dedup = dataclasses.replace(dedup, num_partitions=1 << max(bits, 0))
    order = content_key(settings, dedup.contents_key, dedup.num_partitions)
    jobs = [runs]

    identity_graph = dedup_shuffle.graph_identity if dedup.shuffle else graph_identity
    identity = context.run_job(STAGE, Job("dedup-identity", identity_graph, dedup), _partitions(dedup, order))
    key = content_key(order, upstream_key(identity, "work/equal"), upstream_key(identity, "work/older"))
    origins = context.run_job(STAGE, Job("dedup-origins", graph_origins, dedup), [WorkUnit("all", 0, key)])
    jobs += [identity, origins]
    order = content_key(order, upstream_key(origins, "work/origins"))
    if dedup.verify == "jaccard":
        candidates = context.run_job(STAGE, Job("dedup-candidates", graph_candidates, dedup), _partitions(dedup, order))
        found = upstream_key(candidates, "work/candidates")
        units = [WorkUnit(signed.label, number, content_key(settings, found, signed.documents, signed.first_dense))
                 for number, signed in enumerate(dedup.units)]  # fmt: skip
        shingles = context.run_job(STAGE, Job("dedup-shingles", graph_shingles, dedup), units)
        jobs += [candidates, shingles]
        order = content_key(order, upstream_key(shingles, "work/shingles"))
    else:
        _remove(context, "dedup-candidates", "dedup-shingles")
    links_graph = dedup_shuffle.graph_links if dedup.shuffle else graph_links
    links = context.run_job(STAGE, Job("dedup-links", links_graph, dedup), _partitions(dedup, order))
    key = content_key(order, upstream_key(links, "work/edges"))
    if dedup.shuffle:
        jobs += _shuffled_clusters(context, dedup, key)
    else:
        _remove_stars(context, 0)
        _remove(context, "dedup-twins")
    clusters = context.run_job(STAGE, Job("dedup-clusters", graph_clusters, dedup), [WorkUnit("all", 0, key)])
    jobs += [links, clusters]

    survivors = clusters["all"].tables[SURVIVOR_TABLE].hash
    contaminated = dict.fromkeys(records, "")
    if config.decontaminate is not None:
        jobs += find_contaminated(context, dedup, survivors)
        if config.decontaminate.action == "drop":
            dedup = dataclasses.replace(dedup, drop_contaminated=True)
            contaminated = {
                name: content_key(record.tables["contaminated"].hash, upstream_key(jobs[-3], "work/examples"))
                for name, record in jobs[-2].items()
            }
    else:
        _remove(context, "dedup-ngrams", "dedup-contaminated", "dedup-evaluation")
    dedup, taken_down = find_taken_down(context, dedup, survivors, listed)
    alive = {
        signed.label: content_key(
            settings,
            signed.contents,
            survivors,
            signed.first_dense,
            contaminated[signed.label],
            taken_down[signed.label],
        )
        for signed in dedup.units
        if signed.run is None
    }
    spans, repeated = find_repeats(context, dedup, alive)
    own = [(number, signed) for number, signed in enumerate(dedup.units) if signed.run is None]
    # Twins and similarities are of other units: the ids of their documents and their signatures are stored.
    units = [WorkUnit(signed.label, number, content_key(alive[signed.label], dedup.contents_key, repeated))
             for number, signed in own]  # fmt: skip
    units.sort(key=lambda unit: records[unit.name].number)
    units = [unit._replace(number=records[unit.name].number) for unit in units]
    deleted = context.run_job(STAGE, Job(STAGE, graph_deletions, dedup), units)
    entry = summarise(deleted.values())
    if config.decontaminate is not None:
        for job in jobs[-3:]:
            entry["counts"] |= summarise(job.values())["counts"]
    jobs += spans
    if config.policy == "new":
        units = [
            WorkUnit(signed.label, number, content_key(settings, dedup.contents_key, survivors, deleted_there(signed)))
            for number, signed in enumerate(dedup.units)
            if signed.run is not None
        ]
        superseded = context.run_job(STAGE, Job("dedup-superseded", graph_superseded, dedup), units)
        entry["counts"] |= summarise(superseded.values())["counts"]
        jobs.append(superseded)
    else:
        _remove(context, "dedup-superseded")
    entry["counts"] |= (
        clusters["all"].counts | summarise(identity.values())["counts"] | summarise(links.values())["counts"]
    )
    entry["seconds"] = round(entry["seconds"] + sum(summarise(job.values())["seconds"] for job in jobs), 3)
    context.set_stage(STAGE, entry)


def _remove(context: RunContext, *stages: str) -> None:
    """Remove what jobs left that this configuration does not have."""
    for stage in stages:
        context.run_job(STAGE, Job(stage, graph_runs, None), [])


def _remove_stars(context: RunContext, number: int) -> None:
    """Remove the rounds from `number` on: other edges were stable later."""
    while load_records(context.out, f"dedup-stars-{number}"):
        _remove(context, f"dedup-stars-{number}")
        number += 1


def _shuffled_clusters(context: RunContext, dedup: DedupContext, key: str) -> list[dict[str, Record]]:
    """Repeat large-star and small-star until the sum of all edges is stable, then settle every component."""
    jobs: list[dict[str, Record]] = []
    job, table, before = "dedup-links", "work/edges", None
    while True:
        number = len(jobs)
        own_job, own_table = f"dedup-stars-{number}", f"work/stars-{number}"
        given = (dedup, job, table, own_job, own_table)
        units = _partitions(dedup, content_key(key, number))
        jobs.append(context.run_job(STAGE, Job(own_job, dedup_shuffle.graph_stars, given), units))
        counts = summarise(jobs[-1].values())["counts"]
        now = (counts["edges"], counts["checksum"] % (1 << 32))
        if now == before:
            _remove_stars(context, number + 1)
            break
        job, table, before = own_job, own_table, now
    twins = Job("dedup-twins", dedup_shuffle.graph_twins, (dedup, own_job, own_table))
    return [*jobs, context.run_job(STAGE, twins, _partitions(dedup, key))]


def _partitions(dedup: DedupContext, key: str) -> list[WorkUnit]:
    return [WorkUnit(f"part-{part:05d}", part, content_key(key, part)) for part in range(dedup.num_partitions)]


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


def _check_signatures(dedup: DedupContext) -> None:
    """Refuse signatures of earlier runs that were made in another way."""
    for signed in dedup.units:
        if signed.run is not None:
            schema = map_table(signed.out, signed.record(), "signatures").schema
            try:
                check_metadata(schema, dedup.parameters)
            except ValueError as error:
                raise UserError(f"dedup.against {signed.run}: {error}") from None
