"""A small data set in the format of OUT/shards, and its tokenizer, without the stages that make them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra") for b in ("da", "fe", "go", "hi", "ju", "")]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
IDS = {token: index for index, token in enumerate([*SPECIAL, *WORDS, "##s", "##ed"])}
SPECIAL_IDS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
SEQ_LENGTH, MAX_PIECES = 32, 4


def write_tokenizer(directory: Path, ids: dict[str, int] = IDS) -> None:
    """A WordPiece tokenizer over WORDS, with the three files that the tokenize stage writes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    directory.mkdir(parents=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in SPECIAL_IDS}
    (directory / "special_tokens_map.json").write_text(json.dumps(names))
    config = {**names, "tokenizer_class": "PreTrainedTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))


def make_rows(num_rows: int, seed: int, noise: float = 0.1) -> list[list[list[int]]]:
    """Rows of pieces [CLS] ... [SEP] in which each word determines the next, but for a share of `noise`."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        lengths = rng.integers(3, SEQ_LENGTH // 3, size=int(rng.integers(1, MAX_PIECES)))
        row = []
        for length in lengths:
            word = int(rng.integers(len(WORDS)))
            piece = [2]
            for _ in range(length - 2):
                word = (word * 5 + 3) % len(WORDS) if rng.random() >= noise else int(rng.integers(len(WORDS)))
                piece.append(5 + word)
            row.append([*piece, 3])
        rows.append(row)
    return rows


def make_pairs(num_rows: int, seed: int) -> list[tuple[list[int], list[int], int]]:
    """Sentence pairs `([CLS] A [SEP], B [SEP], label)`; where the label is 0, B goes on where A stops."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(num_rows):
        words = [int(rng.integers(len(WORDS)))]
        for _ in range(11):
            words.append((words[-1] * 5 + 3) % len(WORDS))
        cut, label = int(rng.integers(2, 9)), int(rng.integers(2))
        second = [(word + 7) % len(WORDS) for word in words[cut:]] if label else words[cut:]
        pairs.append(([2, *(5 + word for word in words[:cut]), 3], [*(5 + word for word in second), 3], label))
    return pairs


def write_pairs(directory: Path, pairs) -> None:
    """Write sentence pairs as one shard of next-sentence rows."""
    metadata = {
        "tokenizer_hash": "0123", "vocab_size": len(IDS), "seq_length": SEQ_LENGTH, "packing": "pairs",
        "max_pieces": 2, "special_ids": SPECIAL_IDS,
    }  # fmt: skip
    columns = {
        "input_ids": pa.array([a + b for a, b, _ in pairs], pa.list_(pa.uint16())),
        "document_lengths": pa.array([[len(a), len(b)] for a, b, _ in pairs], pa.list_(pa.int32())),
        "doc_ids": pa.array([[0, 1] for _ in pairs], pa.list_(pa.int64())),
        "piece_starts": pa.array([[0, 0] for _ in pairs], pa.list_(pa.int32())),
        "token_type_ids": pa.array([[0] * len(a) + [1] * len(b) for a, b, _ in pairs], pa.list_(pa.uint8())),
        "next_sentence_label": pa.array([label for _, _, label in pairs], pa.int8()),
    }
    table = pa.table(columns).replace_schema_metadata({"gristmill": json.dumps(metadata)})
    directory.mkdir(parents=True)
    path = str(directory / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def write_split(directory: Path, rows, *, num_files: int = 2, **changed) -> None:
    """Write rows as shards of two record batches each; `changed` overrides the metadata."""
    metadata = {
        "tokenizer_hash": "0123", "vocab_size": len(IDS), "seq_length": SEQ_LENGTH, "packing": "best_fit",
        "max_pieces": MAX_PIECES, "special_ids": SPECIAL_IDS, **changed,
    }  # fmt: skip
    schema = pa.schema(
        [
            ("input_ids", pa.list_(pa.uint16())),
            ("document_lengths", pa.list_(pa.int32())),
            ("doc_ids", pa.list_(pa.int64())),
            ("piece_starts", pa.list_(pa.int32())),
        ],
        metadata={"gristmill": json.dumps(metadata)},
    )
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05d}-of-{num_files:05d}.arrow" for number in range(num_files)]
    for number, name in enumerate(names):
        mine = rows[number::num_files]
        with pa.OSFile(str(directory / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for part in (mine[: len(mine) // 2], mine[len(mine) // 2 :]):
                columns = (
                    [[token for piece in row for token in piece] for row in part],
                    [[len(piece) for piece in row] for row in part],
                    [[0] * len(row) for row in part],
                    [[0] * len(row) for row in part],
                )
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
    (directory / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names], "_fingerprint": "f"})
    )
    info = {"splits": {directory.name: {"num_examples": len(rows)}}}
    (directory / "dataset_info.json").write_text(json.dumps(info))
