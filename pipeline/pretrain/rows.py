"""The rows of one split of OUT/shards, read in place from memory-mapped Arrow streams.

Shapes: B rows, S tokens a row (seq_length), P pieces a row at most.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SPECIAL_NAMES = ("pad", "unk", "cls", "sep", "mask")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShardMetadata:
    """What every shard says about itself; files of one run agree."""

    tokenizer_hash: str
    vocab_size: int
    seq_length: int
    packing: str
    max_pieces: int  # in one row of this shard
    special_ids: dict[str, int]

    def agrees_with(self, other: "ShardMetadata") -> bool:
        """Whether both were made in the same way; how many pieces a row holds is chance."""
        return dataclasses.replace(self, max_pieces=other.max_pieces) == other


class RowBatch(NamedTuple):
    """Rows in memory.

    Attributes:
        ids_BS: int32, tokens, padded with the pad id.
        lengths_BP: int32, tokens of each piece, padded with 0; of a sentence pair, which is one document, P is 1.
        types_BS: uint8, 1 for tokens of sentence B, padded with 0; None unless the rows are pairs.
        next_B: int64, 0 where B continues A, 1 where it does not; None unless the rows are pairs.
    """

    ids_BS: NDArray[np.int32]
    lengths_BP: NDArray[np.int32]
    types_BS: NDArray[np.uint8] | None
    next_B: NDArray[np.int64] | None


class Chunk(NamedTuple):
    """One record batch: flat values with offsets, views of the mapped file; types and labels are empty unless pairs."""

    id_offsets: NDArray[np.int32]
    ids: NDArray[Any]
    length_offsets: NDArray[np.int32]
    lengths: NDArray[np.int32]
    types: NDArray[np.uint8]
    labels: NDArray[np.int8]


class Rows:
    """Random access to the rows of `directory` (`OUT/shards/train` or `.../validation`).

    Opening reads the message headers only; a row is copied once, into the batch.

    Raises:
        ValueError: no shards, a missing or surplus file, files that disagree with each other, or a number of rows that
            differs from what the writer recorded (a cut stream can read as complete).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        paths = _shard_paths(directory)
        self._chunks: list[Chunk] = []
        identity: list[Any] = []
        first: ShardMetadata | None = None
        max_pieces = 0
        self.are_pairs = False
        for path in paths:
            try:
                with pa.memory_map(str(path)) as source:
                    table = pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid as error:
                raise ValueError(f"{path}: not a readable shard ({error}); run tokenize again") from None
            metadata = metadata_of(path, table.schema)
            first = first or metadata
            if not metadata.agrees_with(first):
                raise ValueError(f"{path}: made with {metadata}, but {paths[0].name} with {first}; run tokenize again")
            max_pieces = max(max_pieces, metadata.max_pieces)
            self.are_pairs = "next_sentence_label" in table.schema.names
            self._chunks += [chunk_of(path, batch) for batch in table.to_batches() if batch.num_rows]
            identity.append([path.name, table.num_rows, path.stat().st_size])
        assert first is not None
        self.metadata = dataclasses.replace(first, max_pieces=max_pieces)
        counts = [len(chunk.id_offsets) - 1 for chunk in self._chunks]
        self._starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        state = _json(directory / "state.json")
        recorded = _json(directory / "dataset_info.json").get("splits", {}).get(directory.name, {}).get("num_examples")
        if recorded is not None and recorded != len(self):
            raise ValueError(f"{directory}: {len(self)} rows, but {recorded} were written; run tokenize again")
        text = json.dumps([identity, dataclasses.asdict(first), state.get("_fingerprint")], sort_keys=True)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_tokens(self) -> int:
        """Tokens in all rows, special ones included."""
        return sum(int(chunk.id_offsets[-1] - chunk.id_offsets[0]) for chunk in self._chunks)

    def read(self, rows_B: NDArray[np.int64]) -> RowBatch:
        """Return the rows `rows_B`, which may repeat.

        Raises:
            ValueError: of `read_rows`.
        """
        chunk_B = np.searchsorted(self._starts, rows_B, side="right") - 1
        return read_rows(
            self._chunks,
            chunk_B,
            rows_B - self._starts[chunk_B],
            metadata=self.metadata,
            are_pairs=self.are_pairs,
            where=str(self.directory),
        )

    def token_counts(self, *, most_tokens: int = 1 << 26) -> NDArray[np.int64]:
        """Return how often each id occurs (int64 [V]), over evenly spaced record batches of about `most_tokens`."""
        every = max(1, -(-self.num_tokens // most_tokens))
        counts_V = np.zeros(self.metadata.vocab_size, np.int64)
        for chunk in self._chunks[::every]:
            ids = chunk.ids[chunk.id_offsets[0] : chunk.id_offsets[-1]]
            counts_V += np.bincount(ids, minlength=len(counts_V))[: len(counts_V)]  # more only where a shard rots
        return counts_V


def read_rows(
    chunks: list[Chunk],
    chunk_B: NDArray[np.int64],
    row_B: NDArray[np.int64],
    *,
    metadata: ShardMetadata,
    are_pairs: bool,
    where: str,
) -> RowBatch:
    """Return row `row_B` of chunk `chunk_B` for each of B rows; each is copied once, into the batch.

    Raises:
        ValueError: a row is longer than its metadata allows, its piece lengths do not add up to its tokens, or an id is
            none of the vocabulary.
    """
    ids_BS = np.full((len(row_B), metadata.seq_length), metadata.special_ids["pad"], np.int32)
    types_BS, next_B = np.zeros(ids_BS.shape, np.uint8), np.zeros(len(row_B), np.int64)
    lengths_BP = np.zeros((len(row_B), 1 if are_pairs else metadata.max_pieces), np.int32)
    for index, (number, row) in enumerate(zip(chunk_B.tolist(), row_B.tolist(), strict=True)):
        chunk = chunks[number]
        start, stop = chunk.id_offsets[row], chunk.id_offsets[row + 1]
        piece, piece_stop = chunk.length_offsets[row], chunk.length_offsets[row + 1]
        lengths = chunk.lengths[piece:piece_stop]
        if stop - start > metadata.seq_length or len(lengths) > metadata.max_pieces or lengths.sum() != stop - start:
            found = f"{stop - start} tokens in {len(lengths)} pieces of {lengths.sum()} tokens"
            raise ValueError(f"{where}: row {row} of record batch {number} has {found}; run tokenize again")
        ids_BS[index, : stop - start] = chunk.ids[start:stop]
        if are_pairs:
            lengths_BP[index, 0] = stop - start
            types_BS[index, : stop - start] = chunk.types[start:stop]
            next_B[index] = chunk.labels[row]
        else:
            lengths_BP[index, : len(lengths)] = lengths
    # A shard that rots on the disk: a GPU would tell of it by an assertion of its device, and of no file.
    if len(ids_BS) and (ids_BS.min() < 0 or ids_BS.max() >= metadata.vocab_size):
        outside_B = ((ids_BS < 0) | (ids_BS >= metadata.vocab_size)).any(axis=1)
        number, row = chunk_B[outside_B][0], row_B[outside_B][0]
        found = f"an id outside of the {metadata.vocab_size} of its tokenizer"
        raise ValueError(f"{where}: row {row} of record batch {number} has {found}; run tokenize again")
    return RowBatch(ids_BS, lengths_BP, *((types_BS, next_B) if are_pairs else (None, None)))


def _shard_paths(directory: Path) -> list[Path]:
    """Return the shards in order; `state.json` says which there must be."""
    paths = sorted(directory.glob("*.arrow"))
    listed = [entry["filename"] for entry in _json(directory / "state.json").get("_data_files", [])]
    if not paths:
        raise ValueError(f"{directory}: no shards; run tokenize first")
    if listed and sorted(listed) != [path.name for path in paths]:
        raise ValueError(f"{directory}: state.json lists {len(listed)} shards, found {len(paths)}; run tokenize again")
    return paths


def _json(path: Path) -> dict[str, Any]:
    """Return the object in `path`, empty where there is no such file."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); run tokenize again") from None
    return values


def metadata_of(path: Path | str, schema: pa.Schema) -> ShardMetadata:
    """Return what a shard says about itself.

    Raises:
        ValueError: it is no shard of ours, or its tokenizer lacks a special token.
    """
    try:
        values = json.loads((schema.metadata or {})[b"gristmill"])
        metadata = ShardMetadata(**{field.name: values[field.name] for field in dataclasses.fields(ShardMetadata)})
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: no shard of gristmill (metadata: {error}); run tokenize again") from None
    missing = [name for name in SPECIAL_NAMES if not isinstance(metadata.special_ids.get(name), int)]
    if missing:
        raise ValueError(f"{path}: the tokenizer has no {', '.join(missing)} token, which pretraining needs")
    return metadata


def chunk_of(path: Path | str, batch: pa.RecordBatch) -> Chunk:
    """Return a record batch as flat arrays, without copying."""
    ids, lengths = batch.column("input_ids"), batch.column("document_lengths")
    types, labels = np.zeros(0, np.uint8), np.zeros(0, np.int8)
    if "next_sentence_label" in batch.schema.names:
        of_tokens = batch.column("token_type_ids")
        if not of_tokens.offsets.equals(ids.offsets):
            raise ValueError(f"{path}: token_type_ids and input_ids differ in length; run tokenize again")
        types, labels = of_tokens.values.to_numpy(), batch.column("next_sentence_label").to_numpy()
    return Chunk(
        ids.offsets.to_numpy(),
        ids.values.to_numpy(),
        lengths.offsets.to_numpy(),
        lengths.values.to_numpy(),
        types,
        labels,
    )
