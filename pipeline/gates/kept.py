"""Gate: the share of documents kept, by source from the records read, by language from what the clean stage kept."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.gates.verdict import NUM_EXAMPLES, Example, Verdict
from pipeline.output import Output
from transforms.commit import read_batches
from transforms.ledger import value_counts
from transforms.write import add_counts

MIN_DOCUMENTS = 100  # of a language: below that a label is noise


def kept_source(output: Output, limit: float) -> Iterator[Verdict]:
    """Yield for each source the share of its records that survive; a wrong field name shows here first."""
    last = "dedup" if output.has("dedup") else "clean"
    for source in dict.fromkeys(output.source_of.values()):
        units = [unit for unit in output.records("clean") if output.source_of[unit] == source]
        read = sum(output.records("clean")[unit].counts["input"] for unit in units)
        kept = sum(output.records(last)[unit].counts["kept"] for unit in units)
        what = f"{kept:,} of {read:,} records of source {source} are left"
        share = kept / read if read else 0.0
        rejected = _rejected(output, units) if share < limit else ()
        yield Verdict.at_least("kept_source", share, limit, what, subject=source, examples=rejected)


def _rejected(output: Output, units: list[str]) -> tuple[Example, ...]:
    found: list[Example] = []
    for unit in units:
        for batch in read_batches(output.out, output.records("clean")[unit], "rejected", columns=("doc_id", "url")):
            found += [Example(row["doc_id"], row["url"]) for row in batch.slice(0, NUM_EXAMPLES).to_pylist()]
            if len(found) >= NUM_EXAMPLES:
                return tuple(found[:NUM_EXAMPLES])
    return tuple(found)


def kept_language(output: Output, limit: float) -> Iterator[Verdict]:
    """Yield for each language the share of its documents that dedup leaves: rejected rows have no language."""
    if not output.has("dedup"):
        yield Verdict.not_measured("kept_language", "dedup has not run")
        return
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    gone: dict[str, list[Example]] = {}
    for unit in output.sampled_units():
        deleted_D = output.deleted(unit)
        for batch in output.documents(unit, ("doc_id", "url", "language")):
            dead_N = np.isin(batch.column("doc_id").to_numpy(), deleted_D, assume_unique=True)
            add_counts(before, value_counts(batch.column("language")))
            add_counts(after, value_counts(batch.filter(pa.array(~dead_N)).column("language")))
            dead = batch.filter(pa.array(dead_N))
            for language in pc.unique(dead.column("language")).to_pylist():
                rows = dead.filter(pc.equal(dead.column("language"), language)).slice(0, NUM_EXAMPLES).to_pylist()
                gone.setdefault(language, []).extend(Example(row["doc_id"], row["url"]) for row in rows)
    for language, count in sorted(before.items()):
        if language == "unknown" or count < MIN_DOCUMENTS:
            continue
        left = after.get(language, 0)
        shown = tuple(gone.get(language, ())[:NUM_EXAMPLES]) if left / count < limit else ()
        what = f"{left:,} of {count:,} documents in {language} that passed the rules are no duplicates"
        yield Verdict.at_least("kept_language", left / count, limit, what, subject=language, examples=shown)
    if not any(count >= MIN_DOCUMENTS for language, count in before.items() if language != "unknown"):
        yield Verdict.not_measured("kept_language", f"no language has {MIN_DOCUMENTS} labelled documents")
