"""The words of a sample of the survivors, counted where the text is: what a tokenizer is trained on.

tokenizer-sizes  one unit a clean unit  bytes of text by language, in the record
tokenizer-words  one unit a clean unit  words of the texts that are sampled, and their counts -> work/words
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.context import RunContext
from pipeline.job import Job, Units, content_key, each_unit
from pipeline.run_state import library_versions
from transforms import progress
from transforms.commit import UnitWriter, load_records
from transforms.committed import read_batches
from transforms.documents import surviving_batches
from transforms.fingerprint import content_hash
from transforms.tokenizer import TrainParameters, language_rates, sample_copies, word_counter
from transforms.unit import WorkUnit
from transforms.word_counts import WORD_COUNTS, WordCounter, Words, merged

WORDS_VERSION = 1  # raised when other words are counted for the same survivors and configuration
WORDS_JOB, WORDS_TABLE = "tokenizer-words", "work/words"
_SIZES_JOB = "tokenizer-sizes"
_READ = ("doc_id", "text", "language")
# What is held of distinct words, 80 MB at most with the batch that fills it; a word may stand in a table twice.
_MOST_WORDS, _MOST_BYTES = 1 << 20, 1 << 25


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SampleContext:
    out: str
    parameters: TrainParameters
    rates: dict[str, float]  # by language, how often a text is read


def count_sample(
    context: RunContext,
    survivors: dict[str, str],
    parameters: TrainParameters,
    *,
    sample_bytes: int,
    temperature: float,
) -> None:
    """Bring work/words to the counts of a deterministic sample; `survivors` has a key for each unit."""
    numbers = {name: record.number for name, record in load_records(context.out, "clean").items()}
    units = [WorkUnit(name, numbers[name], content_key(WORDS_VERSION, key)) for name, key in survivors.items()]
    sizes: Counter[str] = Counter()
    for record in context.run_job("tokenize", Job(_SIZES_JOB, _sizes_graph, context.out), units).values():
        sizes.update(record.counts["bytes"])
    rates = language_rates(sizes, sample_bytes=sample_bytes, temperature=temperature)
    asked = library_versions("tokenizers"), parameters.model, rates
    units = [unit._replace(key=content_key(unit.key, *asked)) for unit in units]
    given = _SampleContext(out=context.out, parameters=parameters, rates=rates)
    context.run_job("tokenize", Job(WORDS_JOB, _words_graph, given), units)


def count_nothing(context: RunContext) -> None:
    """Remove what was counted, for a tokenizer that is not trained."""
    for stage in (_SIZES_JOB, WORDS_JOB):
        context.run_job("tokenize", Job(stage, _words_graph, None), [])


def counted_words(out: str) -> Words:
    """Return the sum of work/words over all units; only the distinct words are held."""
    records = load_records(out, WORDS_JOB).values()
    return merged(batch for record in records for batch in read_batches(out, record, WORDS_TABLE))


def _sizes_graph(units: Units, out: str) -> None:
    each_unit(units, function=_write_sizes, context=out)


def _write_sizes(unit: WorkUnit, out: str) -> None:
    sizes: Counter[str] = Counter()
    writer = UnitWriter(out, _SIZES_JOB, unit)
    for batch in _batches(out, unit.name):
        table = pa.table({"language": batch.column("language"), "bytes": pc.binary_length(batch.column("text"))})
        for row in table.group_by("language").aggregate([("bytes", "sum")]).to_pylist():
            sizes[row["language"]] += row["bytes_sum"]
    writer.commit({"bytes": dict(sorted(sizes.items()))})


def _words_graph(units: Units, context: _SampleContext) -> None:
    each_unit(units, function=_write_words, context=context)


def _write_words(unit: WorkUnit, context: _SampleContext) -> None:
    counter = word_counter(context.parameters)
    writer = UnitWriter(context.out, WORDS_JOB, unit)
    writer.open(WORDS_TABLE, WORD_COUNTS)
    num_words = 0
    for batch in _batches(context.out, unit.name):
        counter.add(batch.column("text"), _copies(batch, context.rates))
        if counter.num_words > _MOST_WORDS or counter.num_bytes > _MOST_BYTES:
            num_words += _write(writer, counter)
    num_words += _write(writer, counter)
    writer.commit({"words": num_words})


def _write(writer: UnitWriter, counter: WordCounter) -> int:
    words = counter.take()
    writer.write(WORDS_TABLE, words)
    return words.num_rows


def _batches(out: str, unit: str) -> Iterator[pa.RecordBatch]:
    """Yield text and language, never null, of the survivors of a unit."""
    for batch in surviving_batches(out, unit, columns=_READ):
        language = pc.fill_null(batch.column("language"), "")
        yield pa.record_batch([batch.column("text"), language], names=["text", "language"])
        progress.advance(
            documents=batch.num_rows, text_bytes=pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
        )


def _copies(batch: pa.RecordBatch, rates: dict[str, float]) -> NDArray[np.int64]:
    """Return int64 [N]: how often each text is read."""
    language = batch.column("language")
    copies_N = np.zeros(batch.num_rows, np.int64)
    hashes_N = content_hash(batch.column("text"))
    for name in language.unique().to_pylist():
        rows = pc.equal(language, name).to_numpy(zero_copy_only=False)
        copies_N[rows] = sample_copies(hashes_N[rows], rates.get(name, 0.0))  # a language of empty texts has no rate
    return copies_N
