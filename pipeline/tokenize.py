"""Stage three: a tokenizer, the ids of every surviving document, and shards of packed rows."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from pipeline.context import RunContext, survivor_keys
from pipeline.errors import UserError
from pipeline.job import Job, Units, content_key, each_unit
from pipeline.run_state import library_versions
from pipeline.sections import TokenizerChoice
from pipeline.shards import make_shards
from transforms.commit import Record, UnitWriter, load_records, read_file
from transforms.documents import surviving_batches
from transforms.encode import Encoder
from transforms.fingerprint import content_hash
from transforms.tokenizer import (
    TrainParameters,
    language_rates,
    load_tokenizer,
    sample_copies,
    special_ids,
    tokenizer_files,
    tokenizer_hash,
    train_tokenizer,
)
from transforms.tokens import TokensSplit
from transforms.unit import WorkUnit

STAGE = "tokenize"
TOKENIZER_UNIT = "tokenizer"
TOKENIZE_VERSION = 3  # raised when ids, rows or counts change for the same input and configuration
SENTENCES_VERSION = 1  # raised when texts are cut into other sentences


def run(context: RunContext) -> None:
    """Bring tokenizer/, tokens/ and shards/ to the state that the configuration asks for."""
    survivors = survivor_keys(context.out)
    tokenizer = _tokenizer(context, survivors)
    tokens = _tokens(context, survivors, tokenizer)
    make_shards(context, tokens, tokenizer, vocab_size=vocab_size(tokenizer))


def _versions() -> dict[str, str]:
    return library_versions("tokenizers")


# --- tokenizer/


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TokenizerContext:
    out: str
    choice: TokenizerChoice
    seq_length: int
    units: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _SampledTexts:
    """The texts of a deterministic sample of the survivors; it starts over each time it is iterated."""

    out: str
    units: tuple[str, ...]
    rates: dict[str, float]  # by language, how often a text is read

    def __iter__(self) -> Iterator[str]:
        for unit in self.units:
            for batch in surviving_batches(self.out, unit):
                texts, language = batch.column("text"), _languages(batch)
                hashes = content_hash(texts)
                copies_N = np.zeros(batch.num_rows, np.int64)
                for name in language.unique().to_pylist():
                    rows = pc.equal(language, name).to_numpy(zero_copy_only=False)
                    copies_N[rows] = sample_copies(hashes[rows], self.rates.get(name, 0.0))  # empty texts have none
                yield from texts.take(pa.array(np.repeat(np.arange(batch.num_rows), copies_N))).to_pylist()


def _languages(batch: pa.RecordBatch) -> pa.Array:
    return pc.fill_null(batch.column("language"), "")


def _bytes_by_language(out: str, units: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for unit in units:
        for batch in surviving_batches(out, unit):
            table = pa.table({"language": _languages(batch), "bytes": pc.binary_length(batch.column("text"))})
            for row in table.group_by("language").aggregate([("bytes", "sum")]).to_pylist():
                found[row["language"]] = found.get(row["language"], 0) + row["bytes_sum"]
    return found


def _make_tokenizer(unit: WorkUnit, context: _TokenizerContext) -> None:
    choice = context.choice
    if choice.load is not None:
        tokenizer = load_tokenizer(choice.load)
    else:
        assert choice.train is not None
        sizes = _bytes_by_language(context.out, context.units)
        rates = language_rates(sizes, sample_bytes=choice.sample_bytes, temperature=choice.temperature)
        parameters = TrainParameters(model=choice.train, vocab_size=choice.vocab_size, pad_to=choice.pad_vocab_to)
        tokenizer = train_tokenizer(_SampledTexts(context.out, context.units, rates), parameters)
    writer = UnitWriter(context.out, TOKENIZER_UNIT, unit)
    for name, text in tokenizer_files(tokenizer, seq_length=context.seq_length).items():
        writer.write_file(f"tokenizer/{name}", text.encode())
    writer.commit({"vocab_size": tokenizer.get_vocab_size(with_added_tokens=True)})


def _tokenizer_graph(units: Units, context: _TokenizerContext) -> None:
    each_unit(units, function=_make_tokenizer, context=context)


def _tokenizer(context: RunContext, survivors: dict[str, str]) -> Tokenizer:
    choice, seq_length = context.config.tokenize.tokenizer, max(context.config.tokenize.seq_lengths)
    if not any(record.counts["kept"] for record in load_records(context.out, "dedup").values()):
        raise UserError(f"no document survived clean and dedup in {context.out}; its rejected/ says why")
    if choice.load is None:
        trainer = library_versions("sentencepiece") if choice.train == "unigram" else {}
        key = content_key(TOKENIZE_VERSION, _versions() | trainer, choice.model_dump(), seq_length, survivors)
    else:
        try:
            loaded = load_tokenizer(choice.load)
            special_ids(loaded)
        except ValueError as error:
            raise UserError(f"tokenize.tokenizer.load: {error}") from None
        key = content_key(TOKENIZE_VERSION, tokenizer_hash(loaded), seq_length)
    made = _TokenizerContext(out=context.out, choice=choice, seq_length=seq_length, units=tuple(survivors))
    job = Job(TOKENIZER_UNIT, _tokenizer_graph, made)
    records = context.run_job(STAGE, job, [WorkUnit(TOKENIZER_UNIT, 0, key)])
    context.record_stage(TOKENIZER_UNIT, records)
    content = read_file(context.out, records[TOKENIZER_UNIT], "tokenizer/tokenizer.json")
    return Tokenizer.from_str(content.decode())


# --- tokens/


@dataclasses.dataclass(frozen=True, kw_only=True)
class _EncodeContext:
    out: str
    tokenizer: str
    split: TokensSplit


def graph(units: Units, context: _EncodeContext) -> None:
    """Read the survivors, encode, write."""
    from transforms.encoding import Encode  # noqa: PLC0415 - Beam, which the parent of a local run does without
    from transforms.read import ReadSurvivors  # noqa: PLC0415
    from transforms.write import WriteUnits  # noqa: PLC0415

    documents = units | ReadSurvivors(out=context.out)
    ids = documents | Encode(tokenizer=context.tokenizer, split=context.split)
    ids | WriteUnits(out=context.out, stage=STAGE, split=context.split)


def _tokens(context: RunContext, survivors: dict[str, str], tokenizer: Tokenizer) -> dict[str, Record]:
    digest = tokenizer_hash(tokenizer)
    sentences = context.config.tokenize.packing == "pairs"
    of_sentences = [SENTENCES_VERSION] if sentences else []
    unknown = special_ids(tokenizer).unk
    split = TokensSplit(vocab_size=vocab_size(tokenizer), tokenizer_hash=digest, unknown=unknown, sentences=sentences)
    numbers = {name: record.number for name, record in load_records(context.out, "clean").items()}
    units = [
        WorkUnit(name, numbers[name], content_key(TOKENIZE_VERSION, _versions(), digest, key, *of_sentences))
        for name, key in survivors.items()
    ]

    def tell() -> None:  # making the tables takes most of a second, so not where all units are done
        if not Encoder(tokenizer).is_fast:
            context.say("tokenize: no kernel knows this tokenizer; the tokenizers library encodes, as exact but slower")

    job = Job(STAGE, graph, _EncodeContext(out=context.out, tokenizer=tokenizer.to_str(), split=split))
    records = context.run_job(STAGE, job, units, before=tell)
    context.record_stage(STAGE, records)
    return records


def vocab_size(tokenizer: Tokenizer) -> int:
    """Return one more than the largest id; a vocabulary may have holes."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
