"""Gates: the share of evaluation examples of which documents hold an n-gram: as recorded, and measured again."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decontamination import evaluation_files
from pipeline.errors import UserError
from pipeline.gates.sample import sampled
from pipeline.gates.verdict import Example, Verdict, examples
from pipeline.output import Output
from pipeline.sections import Decontaminate
from transforms.committed import read_table
from transforms.evidence import shingle_rows
from transforms.readers.dispatch import read_slice
from transforms.schema import alive_mask

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


def contamination_again(output: Output, sample: pa.Table, limit: float) -> Iterator[Verdict]:
    """Yield the share that sampled survivors alone show, measured again from the evaluation sets as they are now."""
    given = output.config["dedup"].get("decontaminate")
    if given is None or not output.has("dedup") or not sample.num_rows:
        return  # the gate of the recorded overlaps says why
    settings = Decontaminate.model_validate(given)
    hash_S, row_S = _ngrams(sample.column("text").combine_chunks(), settings.ngram)
    total = hit = 0
    common = [np.zeros(0, np.uint64)]
    try:
        for texts in _examples(settings):
            hash_G, example_G = _ngrams(texts, settings.ngram)
            found_G = np.isin(hash_G, hash_S)
            total += len(np.unique(example_G))
            hit += len(np.unique(example_G[found_G]))
            common.append(hash_G[found_G])
    except (UserError, ValueError, OSError) as error:
        yield Verdict.not_measured(GATE, f"the evaluation sets cannot be read again: {error}", "sample")
        return
    guilty = np.unique(row_S[np.isin(hash_S, np.concatenate(common))])
    value = hit / max(1, total)
    shown = examples(sample.select(["doc_id", "url"]).take(guilty[:3]).to_pylist()) if value > limit else ()
    what = f"{hit:,} of {total:,} evaluation examples share {settings.ngram} words in a row with {len(guilty):,} of"
    what += f" {sampled(output, sample)}, read again"
    yield Verdict.at_most(GATE, value, limit, what, subject="sample", examples=shown)


def _examples(settings: Decontaminate) -> Iterator[pa.Array]:
    sources = {source.name: source for source in settings.sets}
    for part in evaluation_files(settings):
        for batch in read_slice(sources[part.source], part):
            yield batch.filter(pa.array(alive_mask(batch))).column("text")


def _ngrams(texts: pa.Array, ngram: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the different n-grams of N texts as hashes, and the text that each is of."""
    lists = shingle_rows(texts, np.arange(len(texts), dtype=np.uint32), ngram).column("shingles")
    offsets_N1 = lists.offsets.to_numpy()
    hashes = lists.values.to_numpy()[offsets_N1[0] : offsets_N1[-1]]
    return hashes, np.repeat(np.arange(len(texts)), np.diff(offsets_N1))
