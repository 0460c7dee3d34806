"""Gates on a sample of the surviving documents: language and personal data, measured again on the text as kept."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.gates.verdict import Verdict, examples
from pipeline.output import DRAWN, Output
from transforms.language import label_language
from transforms.pii import KINDS, personal_data
from transforms.schema import IN_FLIGHT, VERDICT


def language_purity(output: Output, sample: pa.Table, limit: float) -> Iterator[Verdict]:
    """Yield the share of documents that are still in a kept language, or, if all are, in that of their label."""
    gate, settings = "language_purity", output.config["clean"]["language"]
    if settings is None or not sample.num_rows:
        yield Verdict.not_measured(gate, "clean.language is not set" if settings is None else "no document survived")
        return
    options = {name: value for name, value in settings.items() if name != "detector"}
    try:
        measured = label_language(in_flight(sample), **options)
    except ValueError as error:  # the model is gone
        yield Verdict.not_measured(gate, str(error))
        return
    if settings["keep"]:
        pure = pc.is_null(measured.column("rule"))
        what = f"in {', '.join(settings['keep'])}"
    else:
        pure = pc.fill_null(pc.equal(measured.column("language"), sample.column("language").combine_chunks()), False)
        what = "in the language of their label"
    yield _share(gate, output, sample, pure.to_numpy(zero_copy_only=False), limit, f"are {what}", least=True)


def pii_left(output: Output, sample: pa.Table, limit: float | None) -> Iterator[Verdict]:
    """Yield the share of documents with personal data of the kinds in `clean.pii`, or of any if a limit asks."""
    gate = "pii_left"
    asked = tuple(output.config["clean"].get("pii") or ())
    if not sample.num_rows:
        yield Verdict.not_measured(gate, "no document survived")
        return
    hit_N = np.zeros(sample.num_rows, np.bool_)
    hit_N[[row for row, _ in personal_data(sample.column("text").combine_chunks(), kinds=asked or tuple(KINDS))]] = True
    if limit is None:
        limit = 0.001
        if not asked:
            yield Verdict.not_measured(
                gate,
                f"clean.pii masks nothing and checks.pii_left is not set; {hit_N.sum():,} of {sampled(output, sample)}"
                " hold what looks like personal data",
            )
            return
    yield _share(gate, output, sample, hit_N, limit, f"hold {', '.join(asked or KINDS)}", least=False)


def _share(
    gate: str, output: Output, sample: pa.Table, true_N: Any, limit: float, what: str, *, least: bool
) -> Verdict:
    count = int(true_N.sum())
    bad = sample.select(["doc_id", "url"]).filter(pa.array(~true_N if least else true_N))
    told = f"{count:,} of {sampled(output, sample)} {what}"
    share = count / len(true_N)
    failed = share < limit if least else share > limit
    shown = examples(bad.slice(0, 3).to_pylist()) if failed else ()
    make = Verdict.at_least if least else Verdict.at_most
    return make(gate, share, limit, told, examples=shown)


def sampled(output: Output, sample: pa.Table) -> str:
    """Return how a verdict calls the documents of a sample: how many, and what it leaves out."""
    left_out = []
    drawn = int((sample.schema.metadata or {}).get(DRAWN.encode(), 0))
    if sample.num_rows < drawn:
        left_out.append(f"the first of {drawn:,} drawn; with more it would be too much text")
    last = "dedup" if output.has("dedup") else "clean"
    surviving = {output.source_of[unit] for unit, record in output.records(last).items() if record.counts["kept"]}
    if unseen := sorted(surviving - set(pc.unique(sample.column("source")).to_pylist())):
        left_out.append(f"none of source {unseen[0]}" + (f" and {len(unseen) - 1:,} others" if unseen[1:] else ""))
    return f"{sample.num_rows:,} sampled documents" + (f" ({'; '.join(left_out)})" if left_out else "")


def in_flight(sample: pa.Table) -> pa.RecordBatch:
    """Return documents as the transforms of the clean stage take them: alive."""
    table = sample
    for field in VERDICT:
        table = table.append_column(field, pa.nulls(sample.num_rows, field.type))
    (batch,) = table.select(IN_FLIGHT.names).combine_chunks().to_batches()
    return batch
