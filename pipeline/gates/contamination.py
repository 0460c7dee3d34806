"""Gate: the share of evaluation examples that surviving documents share an n-gram with."""

from collections.abc import Iterator

import numpy as np

from pipeline.gates.verdict import Example, Verdict
from pipeline.output import Output
from transforms.commit import read_table

GATE = "contamination"


def contamination(output: Output, limit: float) -> Iterator[Verdict]:
    """Yield the share, from the overlaps that the dedup stage recorded minus what it deleted."""
    if output.config["dedup"].get("decontaminate") is None or not output.has("dedup"):
        why = "dedup has not run" if not output.has("dedup") else "dedup.decontaminate names no evaluation sets"
        yield Verdict.not_measured(GATE, why)
        return
    ngrams = output.record("dedup-ngrams", "all")
    count_G = read_table(output.out, ngrams, "work/examples").column("ngrams").to_numpy()
    total, short = int(np.count_nonzero(count_G)), int(np.count_nonzero(count_G == 0))
    unreadable = sum(counts["unreadable"] for counts in ngrams.counts.get("evaluation_sets", {}).values())
    left_out = f"{short:,} are too short" + (f" and {unreadable:,} unreadable" if unreadable else "")
    if not total:
        yield Verdict.not_measured(GATE, f"no evaluation example can be found: {left_out}")
        return
    hit: set[int] = set()
    guilty: list[int] = []
    for unit in output.records("clean"):
        found = read_table(output.out, output.record("dedup-contaminated", unit), "contaminated")
        doc_id_H = found.column("doc_id").to_numpy()
        alive_H = ~np.isin(doc_id_H, output.deleted(unit))
        hit.update(found.column("example").to_numpy()[alive_H].tolist())
        guilty += np.unique(doc_id_H[alive_H])[: 3 - len(guilty)].tolist()
    value = len(hit) / total
    documents = output.find(guilty) if value > limit else {}
    shown = tuple(Example(doc_id, documents[doc_id]["url"]) for doc_id in guilty if doc_id in documents)
    ngram = output.config["dedup"]["decontaminate"]["ngram"]
    what = f"{len(hit):,} of {total:,} evaluation examples share {ngram} words in a row with surviving documents"
    what += f"; {left_out}" if short or unreadable else ""
    yield Verdict.at_most(GATE, value, limit, what, examples=shown)
