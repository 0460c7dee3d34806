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
    total = read_table(output.out, output.records("dedup-ngrams")["all"], "work/examples").num_rows
    hit: set[int] = set()
    guilty: list[int] = []
    for unit, record in output.records("dedup-contaminated").items():
        found = read_table(output.out, record, "contaminated")
        doc_id_H = found.column("doc_id").to_numpy()
        alive_H = ~np.isin(doc_id_H, output.deleted(unit))
        hit.update(found.column("example").to_numpy()[alive_H].tolist())
        guilty += np.unique(doc_id_H[alive_H])[: 3 - len(guilty)].tolist()
    value = len(hit) / max(total, 1)
    documents = output.find(guilty) if value > limit else {}
    shown = tuple(Example(doc_id, documents[doc_id]["url"]) for doc_id in guilty if doc_id in documents)
    ngram = output.config["dedup"]["decontaminate"]["ngram"]
    what = f"{len(hit):,} of {total:,} evaluation examples share {ngram} words in a row with surviving documents"
    yield Verdict.at_most(GATE, value, limit, what, examples=shown)
