"""Shards: the files that training reads, described so that `datasets.load_from_disk` opens them. No Beam.

Shapes: U work units, N documents.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.kernels.packing import permutation
from transforms.schema import token_type
from transforms.tokenizer import SpecialIds, sample_mask

MAX_SHARDS = 4096  # 66,000 memory maps are refused by Linux
MIN_VALIDATION_DOCUMENTS = 20
SHARD_TOKENS = 1 << 25  # 64 MB of uint16: small enough to pack in memory, and 4096 of them hold 137 billion tokens
_MIXED_UNITS = 32  # a shard takes documents from at least about this many units, if there are so many
_HASHES = 1 << 64

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardMetadata:
    """What a shard says about itself; a reader refuses shards that disagree in more than `max_pieces`.

    Args:
        tokenizer_hash: of the tokenizer that made the ids.
        vocab_size: ids are below it.
        seq_length: most tokens in a row.
        packing: `best_fit`, `concat`, `none` or `pairs`.
        max_pieces: most document pieces in a row, which static shapes need.
        special_ids: never part of a text.
    """

    tokenizer_hash: str
    vocab_size: int
    seq_length: int
    packing: str
    max_pieces: int
    special_ids: SpecialIds


def shard_schema(vocab_size: int, *, pairs: bool = False) -> pa.Schema:
    """Return the columns of a shard of packed documents, or of sentence pairs, one a row."""
    of_pairs = [pa.field("token_type_ids", pa.list_(pa.uint8())), pa.field("next_sentence_label", pa.int8())]
    return pa.schema(
        [
            pa.field("input_ids", pa.list_(token_type(vocab_size))),
            pa.field("document_lengths", pa.list_(pa.int32())),
            pa.field("doc_ids", pa.list_(pa.int64())),
            pa.field("piece_starts", pa.list_(pa.int32())),
            *(of_pairs if pairs else []),
        ]
    )


def describe(rows: pa.Table, metadata: ShardMetadata) -> pa.Table:
    """Return `rows` with the schema metadata of a shard: `gristmill` (ours) and `huggingface` (features)."""
    own = asdict(metadata) | {"special_ids": metadata.special_ids._asdict()}
    features = {"info": {"features": _features(rows.schema)}}
    return rows.replace_schema_metadata({"gristmill": json.dumps(own), "huggingface": json.dumps(features)})


def shard_metadata(schema: pa.Schema) -> ShardMetadata:
    """Return what the shard with this schema says about itself.

    Raises:
        ValueError: it is not a shard of ours.
    """
    written = (schema.metadata or {}).get(b"gristmill")
    if written is None:
        raise ValueError("not a shard of gristmill: its schema has no `gristmill` metadata")
    values = json.loads(written)
    return ShardMetadata(**values | {"special_ids": SpecialIds(**values["special_ids"])})


def _features(schema: pa.Schema) -> dict[str, Any]:
    # The type name `List` is unreadable before datasets 4; `Sequence` opens in 3.6 and in 5.2.
    return {
        field.name: {"feature": {"dtype": str(field.type.value_type), "_type": "Value"}, "_type": "Sequence"}
        if pa.types.is_list(field.type)
        else {"dtype": str(field.type), "_type": "Value"}
        for field in schema
    }


def shard_name(number: int, num_shards: int) -> str:
    """Return the file name of shard `number` (from 0) of `num_shards`, as `datasets` writes it."""
    return f"data-{number:05d}-of-{num_shards:05d}.arrow"


def split_files(
    split: Split, rows_of_shard: Sequence[int], *, schema: pa.Schema, num_bytes: int, fingerprint: str
) -> dict[str, str]:
    """Return the JSON files beside the shards of one split, by name.

    Args:
        split: names the split.
        rows_of_shard: rows in each of the files `shard_name(0, num_shards)` and so on; a reader that begins in the
            middle goes by them.
        schema: of the shards, see `shard_schema`.
        num_bytes: bytes in all of them.
        fingerprint: identifies the data, for the caches of `datasets`: any text that changes with it.
    """
    num_shards = len(rows_of_shard)
    described = {
        "name": split,
        "num_bytes": num_bytes,
        "num_examples": sum(rows_of_shard),
        "shard_lengths": list(rows_of_shard),
    }
    info = {
        "builder_name": "gristmill",
        "dataset_name": "gristmill",
        "features": _features(schema),
        "splits": {split: described},
        "dataset_size": num_bytes,
    }
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard_name(number, num_shards)} for number in range(num_shards)],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    return {"dataset_info.json": _json(info), "state.json": _json(state)}


def dataset_dict_file(splits: tuple[Split, ...]) -> dict[str, str]:
    """Return the file in the directory above the splits, by name."""
    return {"dataset_dict.json": _json({"splits": list(splits)})}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def choose_num_shards(num_tokens: int) -> int:
    """Return how many shards hold `num_tokens`: about 33 million each, at least 1, at most 4096.

    It depends on nothing else, so it is the same for any number of workers.
    """
    return max(1, min(MAX_SHARDS, -(-num_tokens // SHARD_TOKENS)))


class Share(NamedTuple):
    """The documents of one unit that belong to one shard: those whose `document_positions` lie in the range."""

    unit: int
    start: int
    stop: int


def assign_shards(
    weight_U: NDArray[np.int64], num_shards: int, *, seed: int, repeat_U: NDArray[np.float64] | None = None
) -> list[list[Share]]:
    """Deal the units to the shards: equal weights, each shard from a seeded random group of units.

    Units in a random order are laid end to end and cut into groups of about 32 units, each a whole number of shards
    long. Within a group every shard takes an equal slice of every unit, so that a shard never is one source only,
    while a unit is read by the shards of its own group only. Slices are ranges of weight, so shards are equal up to a
    document a unit.

    Args:
        weight_U: int64 [U], for each unit the tokens plus the number of documents (an empty document must be
            somewhere).
        num_shards: at most 4096.
        seed: of the order of units.
        repeat_U: float64 [U], how often the documents of each unit are packed, so that shards are equal in what they
            hold and not in what they read; None for once.

    Returns:
        For each shard its shares, in the order in which the units were laid. Every position of every unit is in one
        share.
    """
    if not 1 <= num_shards <= MAX_SHARDS:
        raise ValueError(f"{num_shards} shards: give 1 to {MAX_SHARDS}")
    laid_U = weight_U
    if repeat_U is not None:  # documents of the validation split are packed once however rare their source is made
        laid_U = np.rint(weight_U * np.maximum(repeat_U, 0.01)).astype(np.int64)
        laid_U = np.where(weight_U > 0, np.maximum(laid_U, 1), 0)
    order_U = np.empty(len(weight_U), np.int32)
    permutation(np.uint64(seed), order_U)
    ends_U = np.cumsum(laid_U[order_U])
    total = int(ends_U[-1]) if len(ends_U) else 0
    mixed = max(1, min(num_shards, round(_MIXED_UNITS * num_shards / max(1, len(weight_U)))))  # shards of a group
    num_groups = max(1, num_shards // mixed)
    cuts = [num_shards * group // num_groups for group in range(num_groups + 1)]
    shards: list[list[Share]] = [[] for _ in range(num_shards)]
    for first, stop in itertools.pairwise(cuts):
        group_start, group_stop = total * first // num_shards, total * stop // num_shards
        unit = int(np.searchsorted(ends_U, group_start, side="right"))
        while unit < len(order_U) and (unit_start := int(ends_U[unit] - laid_U[order_U[unit]])) < group_stop:
            start = max(group_start, unit_start) - unit_start
            length = min(group_stop, int(ends_U[unit])) - unit_start - start
            weight, laid = int(weight_U[order_U[unit]]), int(laid_U[order_U[unit]])
            edges = [
                (start + length * slot // (stop - first)) * weight // laid if laid else 0
                for slot in range(stop - first + 1)
            ]
            for slot in range(stop - first):
                if edges[slot] < edges[slot + 1]:
                    shards[first + slot].append(Share(int(order_U[unit]), edges[slot], edges[slot + 1]))
            unit += 1
    return shards


def document_positions(num_tokens_N: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return int64 [N]: for each document of a unit, in order, the weight of those before it (see `assign_shards`)."""
    ends_N = np.cumsum(num_tokens_N.astype(np.int64) + 1)
    return ends_N - num_tokens_N - 1


def take_share(tokens: pa.Table, share: Share) -> pa.Table:
    """Return the documents of `share` from the whole `tokens/` table of its unit, without copying.

    Of a mapped table it touches the batches of the share, and of the others no more than the first and the last offset:
    a unit of 128 MB of ids is divided among 64 shards and read once, not 64 times.
    """
    position = 0
    parts: list[pa.RecordBatch] = []
    for batch in tokens.to_batches():
        offsets_N1 = batch.column("ids").offsets.to_numpy()
        weight = int(offsets_N1[-1] - offsets_N1[0]) + batch.num_rows
        if position < share.stop and position + weight > share.start:
            position_N = position + document_positions(np.diff(offsets_N1))
            first, stop = np.searchsorted(position_N, [share.start, share.stop]).tolist()
            parts.append(batch.slice(first, stop - first))
        position += weight
    return pa.Table.from_batches(parts, tokens.schema)


def num_copies(content_hash_N: NDArray[np.uint64], weight: float, threshold: int) -> NDArray[np.int64]:
    """Return int64 [N]: how often each document of a source of this weight is packed.

    The whole part of the weight counts for all, the rest for that share of the documents, drawn by content; documents
    of the validation split (below `threshold`) are packed once whatever the weight.
    """
    extra_N = sample_mask(content_hash_N, weight % 1.0)
    copies_N = np.int64(weight // 1.0) + extra_N.astype(np.int64)
    return np.where(is_validation(content_hash_N, threshold), 1, copies_N)


def validation_threshold(fraction: float, smallest_hashes: NDArray[np.uint64] | None, num_documents: int) -> int:
    """Return the bound under which a document's content hash puts it into validation (0 to 2**64).

    It is `fraction` of all hashes, so a document stays where it is when others are added. Where that would be fewer
    than 20 documents, it is raised to take 20, or half of a corpus that has fewer than 40.

    Args:
        fraction: share of the documents, 0 for no validation split.
        smallest_hashes: uint64, at least the 20 smallest of the corpus, in any order; None where `fraction` of the
            documents is far above 20.
        num_documents: of the corpus.

    Raises:
        ValueError: `fraction` is not at least 0 and below 1.
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"validation fraction {fraction} is not at least 0 and below 1")
    wanted = min(MIN_VALIDATION_DOCUMENTS, num_documents // 2)
    if fraction == 0.0 or wanted == 0:
        return 0
    raised = 0 if smallest_hashes is None else int(np.sort(smallest_hashes)[wanted - 1]) + 1
    return max(int(fraction * _HASHES), raised)


def is_validation(content_hash_N: NDArray[np.uint64], threshold: int) -> NDArray[np.bool_]:
    """Return bool [N]: True for the documents of the validation split."""
    if threshold >= _HASHES:
        return np.ones(len(content_hash_N), np.bool_)
    return content_hash_N < np.uint64(threshold)
