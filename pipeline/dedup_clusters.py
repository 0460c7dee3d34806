"""The jobs of the dedup stage from signatures to clusters: each says what it reads, and is valid for those contents."""

import dataclasses
import itertools

from pipeline.context import RunContext
from pipeline.dedup_context import DedupContext
from pipeline.dedup_runs import graph_runs
from pipeline.dedup_units import (
    STAGE,
    SURVIVOR_TABLE,
    graph_candidates,
    graph_clusters,
    graph_identity,
    graph_links,
    graph_origins,
    graph_shingles,
)
from pipeline.job import Job, content_key
from pipeline.run_state import summarise
from transforms.commit import load_records
from transforms.runs import PREFIX_BITS
from transforms.unit import WorkUnit

Reads = tuple[tuple[str, str], ...]
ORIGINS = ("dedup-origins", "work/origins")
SURVIVORS = ("dedup-clusters", SURVIVOR_TABLE)

_PARTITION_ENTRIES = 1 << 22  # 36 bytes an entry while it is linked: 150 MB a worker


def find_clusters(context: RunContext, dedup: DedupContext, hashed: str, settings: str) -> DedupContext:
    """Run the jobs that the configuration asks for.

    Args:
        context: of the run.
        dedup: of all runs.
        hashed: a key of what is hashed and how.
        settings: a key of that, of thresholds and of policies.

    Returns:
        `dedup` with the number of partitions.
    """
    # Runs know nothing of thresholds and policies. The documents matter for their URLs alone.
    units = [WorkUnit(group.label, number, content_key(hashed, dedup.is_packed, [
                      (signed.contents, signed.documents if dedup.url else "") for signed in group.units]))
             for number, group in enumerate(dedup.groups())]  # fmt: skip
    runs = context.run_job(STAGE, Job("dedup-runs", graph_runs, dedup), units)
    num_entries = max(sum(record.counts[kind] for record in runs.values()) for kind in ("exact", "bands", "url"))
    bits = min(max(num_entries - 1, 0).bit_length() - (_PARTITION_ENTRIES.bit_length() - 1), PREFIX_BITS)
    dedup = dataclasses.replace(dedup, num_partitions=1 << max(bits, 0))
    order = content_key(settings, dedup.contents_key, dedup.num_partitions)
    parts, whole = _partitions(dedup, order), [WorkUnit("all", 0, order)]

    identity_in, links_in = graph_identity, graph_links
    if dedup.shuffle:
        from pipeline import dedup_shuffle  # noqa: PLC0415 - Beam, which the parent of a local run does without

        identity_in, links_in = dedup_shuffle.graph_identity, dedup_shuffle.graph_links
    reads = (*if_made("dedup-runs", "work/exact", dedup.exact), *if_made("dedup-runs", "work/url", dedup.url))
    context.run_job(STAGE, Job("dedup-identity", identity_in, dedup, reads), parts)
    reads = (("dedup-identity", "work/equal"), ("dedup-identity", "work/older"))
    context.run_job(STAGE, Job("dedup-origins", graph_origins, dedup, reads), whole)
    bands = (*if_made("dedup-runs", "work/bands", dedup.parameters), ORIGINS)
    if dedup.verify == "jaccard":
        context.run_job(STAGE, Job("dedup-candidates", graph_candidates, dedup, bands), parts)
        units = [WorkUnit(group.label, number, content_key(settings, group.first_dense,
                          [signed.documents for signed in group.units]))
                 for number, group in enumerate(dedup.groups())]  # fmt: skip
        reads = (("dedup-candidates", "work/candidates"),)
        context.run_job(STAGE, Job("dedup-shingles", graph_shingles, dedup, reads), units)
    else:
        remove_jobs(context, "dedup-candidates", "dedup-shingles")
    context.run_job(STAGE, Job("dedup-links", links_in, dedup, (*bands, *compared(dedup))), parts)
    found = ("dedup-links", "work/edges")
    if dedup.shuffle:
        found = _settle_by_shuffle(context, dedup, order)
    else:
        _remove_stars(context, 0)
        remove_jobs(context, "dedup-twins")
    reads = (found, ORIGINS, *compared(dedup))
    context.run_job(STAGE, Job("dedup-clusters", graph_clusters, dedup, reads), whole)
    return dedup


def if_made(job: str, name: str, wanted: object) -> Reads:
    """Return a table to read, none where this configuration does not make it."""
    return ((job, name),) if wanted else ()


def compared(dedup: DedupContext) -> Reads:
    """Return what pairs are compared by; signatures are part of `contents_key`."""
    return if_made("dedup-shingles", "work/shingles", dedup.verify == "jaccard")


def remove_jobs(context: RunContext, *stages: str) -> None:
    """Remove what jobs left that this configuration does not have."""
    for stage in stages:
        context.run_job(STAGE, Job(stage, graph_runs, None), [])


def _remove_stars(context: RunContext, number: int) -> None:
    """Remove the rounds from `number` on: other edges were stable later."""
    while load_records(context.out, f"dedup-stars-{number}"):
        remove_jobs(context, f"dedup-stars-{number}")
        number += 1


def _settle_by_shuffle(context: RunContext, dedup: DedupContext, order: str) -> tuple[str, str]:
    """Repeat large-star and small-star until the sum of all edges is stable, settle every component, return where."""
    from pipeline import dedup_shuffle  # noqa: PLC0415 - Beam

    edges = found = ("dedup-links", "work/edges")
    before = None
    for number in itertools.count():
        own = (f"dedup-stars-{number}", f"work/stars-{number}")
        job = Job(own[0], dedup_shuffle.graph_stars, (dedup, *found, *own), (found,))
        stars = context.run_job(STAGE, job, _partitions(dedup, order))
        found = own
        counts = summarise(stars.values())["counts"]
        now = (counts["edges"], counts["checksum"] % (1 << 32))
        if now == before:
            _remove_stars(context, number + 1)
            break
        before = now
    reads = (edges, found, *compared(dedup))
    context.run_job(
        STAGE, Job("dedup-twins", dedup_shuffle.graph_twins, (dedup, *found), reads), _partitions(dedup, order)
    )
    return "dedup-twins", "work/twins"


def _partitions(dedup: DedupContext, key: str) -> list[WorkUnit]:
    return [WorkUnit(f"part-{part:05d}", part, content_key(key, part)) for part in range(dedup.num_partitions)]
