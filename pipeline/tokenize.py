"""Stage three: a tokenizer, the ids of every surviving document, and shards of packed rows."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.config import TokenizerChoice
from pipeline.context import RunContext, survivor_keys
from pipeline.errors import UserError
from pipeline.job import Job, content_key
from pipeline.run_state import library_versions
from transforms import storage
from transforms.commit import Record, UnitWriter, load_record, load_records, read_file, read_table
from transforms.documents import ReadSurvivors, surviving_batches
from transforms.each_unit import EachUnit
from transforms.encode import Encoder
from transforms.fingerprint import content_hash
from transforms.packing import PackCounts, PackingMethod, pack
from transforms.shards import (
    SPLITS,
    ShardMetadata,
    Share,
    assign_shards,
    choose_num_shards,
    dataset_dict_file,
    describe,
    is_validation,
    num_copies,
    shard_name,
    split_files,
    take_share,
    validation_threshold,
)
from transforms.tokenizer import (
    TrainParameters,
    load_tokenizer,
    sample_mask,
    special_ids,
    tokenizer_files,
    tokenizer_hash,
    train_tokenizer,
)
from transforms.tokens import Encode, TokensSplit
from transforms.unit import WorkUnit
from transforms.write import WriteUnits

STAGE = "tokenize"
TOKENIZER_UNIT = "tokenizer"
TOKENIZE_VERSION = 1  # raised when ids or rows change for the same input and configuration


def run(context: RunContext) -> None:
    """Bring tokenizer/, tokens/ and shards/ to the state that the configuration asks for."""
    survivors = survivor_keys(context.out)
    tokenizer = _tokenizer(context, survivors)
    tokens = _tokens(context, survivors, tokenizer)
    _shards(context, tokens, tokenizer)


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
    fraction: float

    def __iter__(self) -> Iterator[str]:
        for unit in self.units:
            for batch in surviving_batches(self.out, unit):
                texts = batch.column("text")
                chosen_N = sample_mask(content_hash(texts), self.fraction)
                yield from texts.filter(pa.array(chosen_N)).to_pylist()


def _make_tokenizer(unit: WorkUnit, context: _TokenizerContext) -> None:
    choice = context.choice
    if choice.load is not None:
        tokenizer = load_tokenizer(choice.load)
    else:
        assert choice.train is not None
        total = sum(load_record(context.out, "clean", name).counts["text_bytes"] for name in context.units)
        fraction = min(1.0, choice.sample_bytes / max(total, 1))
        texts = _SampledTexts(context.out, context.units, fraction)
        tokenizer = train_tokenizer(texts, TrainParameters(model=choice.train, vocab_size=choice.vocab_size))
    writer = UnitWriter(context.out, TOKENIZER_UNIT, unit)
    for name, text in tokenizer_files(tokenizer, seq_length=context.seq_length).items():
        writer.write_file(f"tokenizer/{name}", text.encode())
    writer.commit({"vocab_size": tokenizer.get_vocab_size(with_added_tokens=True)})


def _tokenizer_graph(units: beam.PCollection, context: _TokenizerContext) -> None:
    units | EachUnit(function=_make_tokenizer, context=context)


def _tokenizer(context: RunContext, survivors: dict[str, str]) -> Tokenizer:
    choice, seq_length = context.config.tokenize.tokenizer, context.config.tokenize.seq_length
    if not any(record.counts["kept"] for record in load_records(context.out, "dedup").values()):
        raise UserError(f"no document survived clean and dedup in {context.out}; its rejected/ says why")
    if choice.load is None:
        key = content_key(TOKENIZE_VERSION, _versions(), choice.model_dump(), seq_length, survivors)
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


def graph(units: beam.PCollection, context: _EncodeContext) -> None:
    """Read the survivors, encode, write."""
    documents = units | ReadSurvivors(out=context.out)
    ids = documents | Encode(tokenizer=context.tokenizer, split=context.split)
    ids | WriteUnits(out=context.out, stage=STAGE, split=context.split)


def _tokens(context: RunContext, survivors: dict[str, str], tokenizer: Tokenizer) -> dict[str, Record]:
    digest = tokenizer_hash(tokenizer)
    split = TokensSplit(vocab_size=vocab_size(tokenizer), tokenizer_hash=digest)
    numbers = {name: record.number for name, record in load_records(context.out, "clean").items()}
    units = [
        WorkUnit(name, numbers[name], content_key(TOKENIZE_VERSION, _versions(), digest, key))
        for name, key in survivors.items()
    ]
    if context.may_run and not Encoder(tokenizer).is_fast:
        context.say("tokenize: no kernel knows this tokenizer; the tokenizers library encodes, as exact but slower")
    job = Job(STAGE, graph, _EncodeContext(out=context.out, tokenizer=tokenizer.to_str(), split=split))
    records = context.run_job(STAGE, job, units)
    context.record_stage(STAGE, records)
    return records


def vocab_size(tokenizer: Tokenizer) -> int:
    """Return one more than the largest id; a vocabulary may have holes."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


# --- shards/


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ShardContext:
    out: str
    unit_names: tuple[str, ...]
    shares: dict[str, list[Share]]  # shard name -> what it takes of which unit
    weights: tuple[float, ...]  # of each unit: how often its documents are seen in training
    metadata: ShardMetadata
    threshold: int
    seed: int


def _write_shard(unit: WorkUnit, context: _ShardContext) -> None:
    parts = []
    for share in context.shares[unit.name]:
        record = load_record(context.out, STAGE, context.unit_names[share.unit])
        taken = take_share(read_table(context.out, record, "tokens"), share)
        copies_N = num_copies(taken.column("content_hash").to_numpy(), context.weights[share.unit], context.threshold)
        # take() copies: a slice would keep the whole unit in memory.
        parts.append(taken.take(np.repeat(np.arange(taken.num_rows), copies_N)))
    tokens = pa.concat_tables(parts)
    validation_N = is_validation(tokens.column("content_hash").to_numpy(), context.threshold)
    writer = UnitWriter(context.out, "shards", unit)
    counts: dict[str, Any] = {}
    packing: PackingMethod = context.metadata.packing  # type: ignore[assignment]
    for split, keep_N in zip(SPLITS, (~validation_N, validation_N), strict=True):
        rows, packed = pack(
            tokens,
            keep_N=keep_N,
            seq_length=context.metadata.seq_length,
            packing=packing,
            special_ids=context.metadata.special_ids,
            vocab_size=context.metadata.vocab_size,
            seed=context.seed + unit.number,
        )
        writer.write(
            f"shards/{split}", describe(rows, dataclasses.replace(context.metadata, max_pieces=packed.max_pieces))
        )
        counts[split] = shard_counts(packed, context.metadata.seq_length)
    writer.commit(counts)


def shard_counts(packed: PackCounts, seq_length: int) -> dict[str, int]:
    """Return the counts of one split that add up over shards: `capacity` is what full rows would hold."""
    counts = packed._asdict()
    del counts["max_pieces"]
    return {**counts, "capacity": packed.rows * seq_length}


def _shard_graph(units: beam.PCollection, context: _ShardContext) -> None:
    units | EachUnit(function=_write_shard, context=context)


def _threshold(context: RunContext, tokens: dict[str, Record]) -> int:
    """Return the validation bound; hashes are read only where the fraction could give too few documents."""
    fraction = context.config.tokenize.validation
    if fraction == 0.0:
        return 0
    num_documents = sum(record.counts["kept"] for record in tokens.values())
    if fraction * num_documents > _PLENTY:
        return validation_threshold(fraction, np.zeros(0, np.uint64), num_documents)
    columns = [
        read_table(context.out, record, "tokens").column("content_hash").to_numpy() for record in tokens.values()
    ]
    return validation_threshold(fraction, np.concatenate(columns), num_documents)


_PLENTY = 200  # expected validation documents from which on 20 are certain (below that: 13 standard deviations)


def _shards(context: RunContext, tokens: dict[str, Record], tokenizer: Tokenizer) -> None:
    settings, seed = context.config.tokenize, context.config.seed
    weight_U = np.array([record.counts["tokens"] + record.counts["kept"] for record in tokens.values()], np.int64)
    num_shards = choose_num_shards(sum(record.counts["tokens"] for record in tokens.values()))
    names = [shard_name(number, num_shards).removesuffix(".arrow") for number in range(num_shards)]
    metadata = ShardMetadata(
        tokenizer_hash=tokenizer_hash(tokenizer),
        vocab_size=vocab_size(tokenizer),
        seq_length=settings.seq_length,
        packing=settings.packing,
        max_pieces=0,
        special_ids=special_ids(tokenizer),
    )
    weight_by_source = {source.name: source.weight for source in context.config.sources}
    weight_of = {unit.name: weight_by_source[unit.slices[0].source] for unit in context.state.plan.units}
    shards = _ShardContext(
        out=context.out,
        unit_names=tuple(tokens),
        shares=dict(zip(names, assign_shards(weight_U, num_shards, seed=seed), strict=True)),
        weights=tuple(weight_of[name] for name in tokens),
        metadata=metadata,
        threshold=_threshold(context, tokens),
        seed=seed,
    )
    contents = [record.tables["tokens"].hash for record in tokens.values()]
    units = []
    for number, name in enumerate(names):
        taken = [
            (contents[share.unit], share.start, share.stop, shards.weights[share.unit]) for share in shards.shares[name]
        ]
        key = content_key(TOKENIZE_VERSION, seed, dataclasses.asdict(metadata), str(shards.threshold), taken)
        units.append(WorkUnit(name, number, key))
    records = context.run_job(STAGE, Job("shards", _shard_graph, shards), units)
    _describe_dataset(context.out, records, metadata.vocab_size)
    context.record_stage("shards", records)


def _describe_dataset(out: str, records: dict[str, Record], vocab: int) -> None:
    """Write the JSON files by which `datasets.load_from_disk` opens the shards, where they changed."""
    files = {f"shards/{name}": text for name, text in dataset_dict_file(SPLITS).items()}
    for split in SPLITS:
        tables = [record.tables[f"shards/{split}"] for record in records.values()]
        described = split_files(
            split,
            len(tables),
            vocab_size=vocab,
            num_rows=sum(table.rows for table in tables),
            num_bytes=sum(table.bytes for table in tables),
            fingerprint=content_key([table.hash for table in tables]),
        )
        files.update({f"shards/{split}/{name}": text for name, text in described.items()})
    for path, text in files.items():
        final = storage.join(out, path)
        if storage.size(final) != len(text.encode()) or storage.open_binary(final).read() != text.encode():
            storage.write_text(final, text)
