"""Stage three: a tokenizer, the ids of every surviving document, and shards of packed rows."""

import dataclasses

from tokenizers import Tokenizer

from pipeline.context import RunContext, survivor_keys
from pipeline.errors import UserError
from pipeline.job import Job, Units, content_key, each_unit
from pipeline.run_state import library_versions
from pipeline.sections import TokenizerChoice
from pipeline.shards import make_shards
from pipeline.word_counts import WORDS_JOB, WORDS_TABLE, count_nothing, count_sample, counted_words
from transforms.commit import Record, UnitWriter, load_records
from transforms.committed import read_file
from transforms.encode import Encoder
from transforms.tokenizer import (
    TrainParameters,
    load_tokenizer,
    special_ids,
    tokenizer_files,
    tokenizer_hash,
    train_on_words,
)
from transforms.tokens import TokensSplit
from transforms.unit import WorkUnit

STAGE = "tokenize"
TOKENIZER_UNIT = "tokenizer"
TOKENIZE_VERSION = 4  # raised when ids, rows or counts change for the same input and configuration
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


def _make_tokenizer(unit: WorkUnit, context: _TokenizerContext) -> None:
    choice = context.choice
    if choice.load is not None:
        tokenizer = load_tokenizer(choice.load)
    else:
        tokenizer = train_on_words(counted_words(context.out), _parameters(choice))
    writer = UnitWriter(context.out, TOKENIZER_UNIT, unit)
    for name, text in tokenizer_files(tokenizer, seq_length=context.seq_length).items():
        writer.write_file(f"tokenizer/{name}", text.encode())
    writer.commit({"vocab_size": tokenizer.get_vocab_size(with_added_tokens=True)})


def _parameters(choice: TokenizerChoice) -> TrainParameters:
    assert choice.train is not None
    return TrainParameters(model=choice.train, vocab_size=choice.vocab_size, pad_to=choice.pad_vocab_to)


def _tokenizer_graph(units: Units, context: _TokenizerContext) -> None:
    each_unit(units, function=_make_tokenizer, context=context)


def _tokenizer(context: RunContext, survivors: dict[str, str]) -> Tokenizer:
    choice, seq_length = context.config.tokenize.tokenizer, max(context.config.tokenize.seq_lengths)
    if not any(record.counts["kept"] for record in load_records(context.out, "dedup").values()):
        raise UserError(f"no document survived clean and dedup in {context.out}; its rejected/ says why")
    reads: tuple[tuple[str, str], ...] = ()
    if choice.load is None:
        count_sample(
            context,
            survivors,
            _parameters(choice),
            sample_bytes=choice.sample_bytes,
            temperature=choice.temperature,
        )
        trainer = library_versions("sentencepiece") if choice.train == "unigram" else {}
        key = content_key(TOKENIZE_VERSION, _versions() | trainer, choice.model_dump(), seq_length)
        reads = ((WORDS_JOB, WORDS_TABLE),)
    else:
        try:
            loaded = load_tokenizer(choice.load)
            special_ids(loaded)
        except ValueError as error:
            raise UserError(f"tokenize.tokenizer.load: {error}") from None
        count_nothing(context)
        key = content_key(TOKENIZE_VERSION, tokenizer_hash(loaded), seq_length)
    made = _TokenizerContext(out=context.out, choice=choice, seq_length=seq_length)
    job = Job(TOKENIZER_UNIT, _tokenizer_graph, made, reads)
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
