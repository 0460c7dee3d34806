"""Gates: the share of the records read that is left, of each source, and of each of its languages."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.gates.verdict import NUM_EXAMPLES, Example, Verdict, examples
from pipeline.output import Output
from transforms.committed import read_batches
from transforms.language import named_languages
from transforms.ledger import value_counts

_COLUMNS = ("doc_id", "url", "language")
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
    """Yield for each source and language the share of the labelled records that is left, of the languages asked for."""
    counted = _Languages()
    for unit in output.drawn(list(output.records("clean"))):
        source, deleted_D = output.source_of[unit], output.deleted(unit)
        for batch in output.documents(unit, _COLUMNS):
            dead_N = np.isin(batch.column("doc_id").to_numpy(), deleted_D, assume_unique=True)
            counted.note(source, batch.filter(pa.array(~dead_N)), are_left=True)
            counted.note(source, batch.filter(pa.array(dead_N)), are_left=False)
        for batch in read_batches(output.out, output.records("clean")[unit], "rejected", columns=_COLUMNS):
            counted.note(source, batch, are_left=False)
    settings, one_source = output.config["clean"]["language"], len(output.config["sources"]) == 1
    found = counted.of_languages(settings["keep"] if settings else ())
    for (source, language), (left, read) in found.items():
        subject = language if one_source else f"{source}/{language}"
        shown = tuple(counted.gone[source, language][:NUM_EXAMPLES]) if left / read < limit else ()
        what = f"{left:,} of {read:,} records of source {source} in {language} are left"
        yield Verdict.at_least("kept_language", left / read, limit, what, subject=subject, examples=shown)
    if not found:
        yield Verdict.not_measured("kept_language", f"no language has {MIN_DOCUMENTS} labelled documents")


class _Languages:
    """Counts of labelled documents by source and language, and some of those that are gone."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, str], int] = {}
        self._read: dict[tuple[str, str], int] = {}
        self.gone: dict[tuple[str, str], list[Example]] = {}

    def note(self, source: str, batch: pa.RecordBatch, *, are_left: bool) -> None:
        labelled = batch.filter(pc.is_valid(batch.column("language")))
        for language, count in value_counts(labelled.column("language")).items():
            key = (source, language)
            self._read[key] = self._read.get(key, 0) + count
            self._left[key] = self._left.get(key, 0) + count * are_left
            gone = self.gone.setdefault(key, [])
            if not are_left and len(gone) < NUM_EXAMPLES:
                gone += examples(labelled.filter(pc.equal(labelled.column("language"), language)).to_pylist())

    def of_languages(self, keep: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
        """Return `(left, read)` of every source and kept language (all, if none is named) with enough documents."""
        labels = sorted({language for _, language in self._read})
        known = [*labels, *keep]  # a language that is asked for need not be there
        asked = (
            dict(zip(known, named_languages(known, keep).tolist(), strict=True))
            if keep
            else dict.fromkeys(labels, True)
        )
        return {
            key: (self._left[key], read)
            for key, read in sorted(self._read.items())
            if read >= MIN_DOCUMENTS and asked[key[1]]
        }
