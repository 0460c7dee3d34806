"""The last jobs of stage three: from tokens/ to shards/, a directory for each length of rows.

shards         one unit a shard  its shares of the units of a group -> shards/{train,validation}/
shards-<n>     the same in rows of n tokens, for every further `seq_length`: packed again, not encoded again
"""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.context import RunContext
from pipeline.job import Job, Units, content_key, each_unit
from pipeline.leakage import NEAR_JOB, NEAR_TABLE, find_near, validation_bound
from pipeline.run_state import summarise
from transforms import progress, storage
from transforms.commit import Record, UnitWriter, load_record
from transforms.committed import check_table, map_table, read_table
from transforms.packing import PackCounts, PackingMethod, pack
from transforms.pairs import pair_up
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
    shard_schema,
    split_files,
    take_share,
)
from transforms.tokenizer import special_ids, tokenizer_hash
from transforms.unit import WorkUnit, planned_name

SHARDS_VERSION = 2  # raised when rows change for the same tokens and configuration
_STAGE = "tokenize"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ShardContext:
    out: str
    directory: str
    unit_names: tuple[str, ...]
    shares: dict[str, list[Share]]  # shard name -> what it takes of which unit
    weights: tuple[float, ...]  # of each unit: how often its documents are seen in training
    sources: tuple[int, ...]  # of each unit: the number of its source
    metadata: ShardMetadata
    threshold: int
    seed: int
    avoid_near: bool


def directory_of(number: int, seq_length: int) -> str:
    """Return where under OUT the shards of the length lie that is `number` (from 0) among those configured."""
    return "shards" if number == 0 else f"shards-{seq_length}"


def make_shards(context: RunContext, tokens: dict[str, Record], tokenizer: Tokenizer, *, vocab_size: int) -> None:
    """Bring shards/ and shards-*/ to the state that the configuration asks for."""
    settings = context.config.tokenize
    threshold = validation_bound(context, tokens)
    near = find_near(context, tokens, threshold)
    entries = {}
    for number, seq_length in enumerate(settings.seq_lengths):
        directory = directory_of(number, seq_length)
        metadata = ShardMetadata(
            tokenizer_hash=tokenizer_hash(tokenizer),
            vocab_size=vocab_size,
            seq_length=seq_length,
            packing=settings.packing,
            max_pieces=0,
            special_ids=special_ids(tokenizer),
        )
        entries[directory] = summarise(_rows(context, directory, tokens, metadata, threshold, near).values())
    _remove_others(context, entries)
    entry = entries.pop("shards")
    context.set_stage("shards", entry | ({"other_lengths": entries} if entries else {}))


def _remove_others(context: RunContext, planned: dict[str, Any]) -> None:
    """Remove the rows of lengths that are configured no longer."""
    units = storage.join(context.out, "units")
    for name in storage.list_directories(units):
        if name.startswith("shards-") and name not in planned:
            context.run_job(_STAGE, Job(name, _shard_graph, None), [])
            storage.remove_directory(storage.join(context.out, name))
            storage.remove_directory(storage.join(units, name))


def _rows(
    context: RunContext,
    directory: str,
    tokens: dict[str, Record],
    metadata: ShardMetadata,
    threshold: int,
    near: dict[str, str],
) -> dict[str, Record]:
    """Make the shards of one length."""
    seed = context.config.seed
    weight_by_source = {source.name: source.weight for source in context.config.sources}
    planned = {unit.name: unit.slices[0].source for unit in context.state.plan.units}
    source_of = {name: planned[planned_name(name)] for name in tokens}
    repeat_U = np.array([weight_by_source[source] for source in source_of.values()])
    tokens_U = np.array([record.counts["tokens"] for record in tokens.values()], np.int64)
    weight_U = tokens_U + np.array([record.counts["kept"] for record in tokens.values()], np.int64)
    num_shards = choose_num_shards(int((tokens_U * repeat_U).sum()))
    names = [shard_name(number, num_shards).removesuffix(".arrow") for number in range(num_shards)]
    dealt = assign_shards(weight_U, num_shards, seed=seed, repeat_U=repeat_U)
    shards = _ShardContext(
        out=context.out,
        directory=directory,
        unit_names=tuple(tokens),
        shares=dict(zip(names, dealt, strict=True)),
        weights=tuple(repeat_U.tolist()),
        sources=tuple(list(weight_by_source).index(source) for source in source_of.values()),
        metadata=metadata,
        threshold=threshold,
        seed=seed,
        avoid_near=any(near.values()),
    )
    contents = [(record.tables["tokens"].hash, near[name]) for name, record in tokens.items()]
    units = []
    for number, name in enumerate(names):
        taken = [
            (contents[share.unit], share.start, share.stop, shards.weights[share.unit]) for share in shards.shares[name]
        ]
        key = content_key(SHARDS_VERSION, seed, dataclasses.asdict(metadata), str(threshold), taken)
        units.append(WorkUnit(name, number, key))
    records = context.run_job(_STAGE, Job(directory, _shard_graph, shards), units)
    _describe_dataset(context.out, directory, records, _schema(metadata))
    return records


def _shard_graph(units: Units, context: _ShardContext) -> None:
    each_unit(units, function=_write_shard, context=context)


def _write_shard(unit: WorkUnit, context: _ShardContext) -> None:
    parts, sources, left_out = [], [np.zeros(0, np.int64)], 0
    for share in context.shares[unit.name]:
        taken = _read_share(context, share)
        copies_N, near = _copies(context, share, taken)
        left_out += near
        # take() copies: a slice would keep the pages of the unit in memory.
        parts.append(taken.take(np.repeat(np.arange(taken.num_rows), copies_N)))
        sources.append(np.full(parts[-1].num_rows, context.sources[share.unit]))
    tokens = pa.concat_tables(parts)
    validation_N = is_validation(tokens.column("content_hash").to_numpy(), context.threshold)
    writer = UnitWriter(context.out, context.directory, unit)
    counts: dict[str, Any] = {}
    for split, keep_N in zip(SPLITS, (~validation_N, validation_N), strict=True):
        rows, packed, counts[split] = _arrange(
            context, tokens, np.concatenate(sources), keep_N, context.seed + unit.number
        )
        metadata = dataclasses.replace(context.metadata, max_pieces=packed.max_pieces)
        writer.write(f"{context.directory}/{split}", describe(rows, metadata))
    counts["near_validation"] = left_out
    writer.commit(counts)
    progress.advance(documents=tokens.num_rows, text_bytes=0)


def _arrange(
    context: _ShardContext, tokens: pa.Table, source_N: NDArray[np.int64], keep_N: NDArray[np.bool_], seed: int
) -> tuple[pa.Table, PackCounts, dict[str, int]]:
    """Return the rows of one split of a shard, and the counts of its record."""
    metadata = context.metadata
    if metadata.packing != "pairs":
        packing: PackingMethod = metadata.packing  # type: ignore[assignment]
        rows, packed = pack(
            tokens,
            keep_N=keep_N,
            seq_length=metadata.seq_length,
            packing=packing,
            special_ids=metadata.special_ids,
            vocab_size=metadata.vocab_size,
            seed=seed,
        )
        return rows, packed, shard_counts(packed, metadata.seq_length)
    languages = tokens.column("language").combine_chunks().dictionary_encode(null_encoding="encode")
    rows, packed, paired = pair_up(
        tokens,
        group_N=source_N * (len(languages.dictionary) + 1) + languages.indices.to_numpy(),
        keep_N=keep_N,
        seq_length=metadata.seq_length,
        special_ids=metadata.special_ids,
        vocab_size=metadata.vocab_size,
        seed=seed,
    )
    return rows, packed, shard_counts(packed, metadata.seq_length) | paired._asdict()


def _schema(metadata: ShardMetadata) -> pa.Schema:
    return shard_schema(metadata.vocab_size, pairs=metadata.packing == "pairs")


def _read_share(context: _ShardContext, share: Share) -> pa.Table:
    """Return the documents of a share, mapped; the shard with the first share of a unit compares its hash."""
    record = load_record(context.out, _STAGE, context.unit_names[share.unit])
    if share.start == 0 and storage.is_local(context.out):  # a remote file was compared when it was copied
        check_table(context.out, record, "tokens")
    return take_share(map_table(context.out, record, "tokens"), share)


def _copies(context: _ShardContext, share: Share, taken: pa.Table) -> tuple[NDArray[np.int64], int]:
    """Return how often each document of a share is packed, and how many training documents leakage forbids."""
    hash_N = taken.column("content_hash").to_numpy()
    copies_N = num_copies(hash_N, context.weights[share.unit], context.threshold)
    if not context.avoid_near:
        return copies_N, 0
    near = read_table(context.out, load_record(context.out, NEAR_JOB, context.unit_names[share.unit]), NEAR_TABLE)
    near_N = np.isin(taken.column("doc_id").to_numpy(), near.column("doc_id").to_numpy())
    near_N &= ~is_validation(hash_N, context.threshold)
    return np.where(near_N, 0, copies_N), int(near_N.sum())


def shard_counts(packed: PackCounts, seq_length: int) -> dict[str, int]:
    """Return the counts of one split that add up over shards: `capacity` is what full rows would hold."""
    counts = packed._asdict()
    del counts["max_pieces"]
    return {**counts, "capacity": packed.rows * seq_length}


def _describe_dataset(out: str, directory: str, records: dict[str, Record], schema: pa.Schema) -> None:
    """Write the JSON files by which `datasets.load_from_disk` opens the shards, where they changed."""
    files = {f"{directory}/{name}": text for name, text in dataset_dict_file(SPLITS).items()}
    for split in SPLITS:
        tables = [record.tables[f"{directory}/{split}"] for record in records.values()]
        described = split_files(
            split,
            [table.rows for table in tables],
            schema=schema,
            num_bytes=sum(table.bytes for table in tables),
            fingerprint=content_key([table.hash for table in tables]),
        )
        files.update({f"{directory}/{split}/{name}": text for name, text in described.items()})
    for path, text in files.items():
        final = storage.join(out, path)
        if storage.size(final) != len(text.encode()) or storage.open_binary(final).read() != text.encode():
            storage.write_text(final, text)
