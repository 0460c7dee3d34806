"""Shards: description, division among units, validation, and what others read from them."""

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.transforms.test_packing import SPECIAL, tokens_table
from transforms.packing import pack
from transforms.shards import (
    SPLITS,
    ShardMetadata,
    Share,
    assign_shards,
    choose_num_shards,
    dataset_dict_file,
    describe,
    document_positions,
    is_validation,
    shard_metadata,
    shard_name,
    shard_schema,
    split_files,
    take_share,
    validation_threshold,
)

METADATA = ShardMetadata(
    tokenizer_hash="0f", vocab_size=300, seq_length=32, packing="best_fit", max_pieces=9, special_ids=SPECIAL
)


def write_dataset(directory, documents, *, metadata=METADATA, num_shards=2):
    """Write train and validation shards of `documents` as the tokenize stage does."""
    for split, keep in zip(SPLITS, (lambda i: i % 4, lambda i: not i % 4), strict=True):
        folder = directory / split
        folder.mkdir(parents=True)
        num_rows, num_bytes = [], 0
        for number in range(num_shards):
            rows, _ = pack(
                tokens_table(documents[number::num_shards], metadata.vocab_size),
                keep_N=np.array([bool(keep(i)) for i in range(len(documents))][number::num_shards]),
                seq_length=metadata.seq_length,
                packing="best_fit",
                special_ids=metadata.special_ids,
                vocab_size=metadata.vocab_size,
                seed=number,
            )
            rows = describe(rows, metadata)
            path = folder / shard_name(number, num_shards)
            with pa.ipc.new_stream(path, rows.schema) as writer:
                writer.write_table(rows)
            num_rows.append(rows.num_rows)
            num_bytes += path.stat().st_size
        beside = split_files(
            split,
            num_rows,
            schema=shard_schema(metadata.vocab_size),
            num_bytes=num_bytes,
            fingerprint="0123456789abcdef",
        )
        for name, text in beside.items():
            (folder / name).write_text(text)
    for name, text in dataset_dict_file(SPLITS).items():
        (directory / name).write_text(text)


def random_documents(num, *, seed=0, low=5, high=300):
    rng = np.random.default_rng(seed)
    return [rng.integers(low, high, n).tolist() for n in rng.integers(1, 60, num)]


def test_datasets_opens_them(tmp_path):
    """`load_from_disk` maps both splits with every column, and every token of every document is in one of them."""
    from datasets import load_from_disk

    documents = random_documents(100)
    write_dataset(tmp_path / "shards", documents)
    loaded = load_from_disk(str(tmp_path / "shards"))
    assert list(loaded) == ["train", "validation"]
    assert loaded["train"].column_names == ["input_ids", "document_lengths", "doc_ids", "piece_starts"]
    specials = sum(len(row["doc_ids"]) for split in SPLITS for row in loaded[split]) * 2
    num_ids = sum(len(row["input_ids"]) for split in SPLITS for row in loaded[split])
    assert num_ids == sum(map(len, documents)) + specials
    row = loaded["validation"][0]
    assert sum(row["document_lengths"]) == len(row["input_ids"]) <= 32
    assert loaded["train"].cache_files[0]["filename"].endswith("train/data-00000-of-00002.arrow")


def test_features_are_sequences_to_old_readers(tmp_path):
    """The type name in both places is `Sequence`, which datasets before 4 understands."""
    write_dataset(tmp_path, random_documents(8))
    info = json.loads((tmp_path / "train" / "dataset_info.json").read_text())
    schema = pa.ipc.open_stream(tmp_path / "train" / "data-00000-of-00002.arrow").schema
    written = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert written == info["features"]
    assert written["input_ids"] == {"feature": {"dtype": "uint16", "_type": "Value"}, "_type": "Sequence"}


@pytest.mark.filterwarnings("ignore")
def test_the_hugging_face_trainer_takes_ten_steps(tmp_path):
    """Trainer and DataCollatorForLanguageModeling train on shards and a tokenizer of ours, unmodified."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from datasets import load_from_disk

    from tests.transforms.test_tokenizer import CORPUS
    from transforms.encode import Encoder
    from transforms.tokenizer import TrainParameters, save_tokenizer, special_ids, tokenizer_hash, train_tokenizer

    tokenizer = train_tokenizer(CORPUS, TrainParameters(vocab_size=400))
    save_tokenizer(tokenizer, tmp_path / "tokenizer", seq_length=32)
    encoder = Encoder(tokenizer)
    metadata = ShardMetadata(
        tokenizer_hash=tokenizer_hash(tokenizer),
        vocab_size=encoder.vocab_size,
        seq_length=32,
        packing="best_fit",
        max_pieces=9,
        special_ids=special_ids(tokenizer),
    )
    write_dataset(tmp_path / "shards", encoder.encode(pa.array(CORPUS)).to_pylist(), metadata=metadata)

    loaded = load_from_disk(str(tmp_path / "shards"))
    config = transformers.BertConfig(
        vocab_size=encoder.vocab_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    trainer = transformers.Trainer(
        model=transformers.BertForMaskedLM(config),
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=10,
            per_device_train_batch_size=4,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        ),
        data_collator=transformers.DataCollatorForLanguageModeling(
            transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer"), mlm_probability=0.3
        ),
        train_dataset=loaded["train"],
    )
    result = trainer.train()
    assert result.global_step == 10
    assert np.isfinite(result.training_loss)
    assert 0 < trainer.evaluate(loaded["validation"])["eval_loss"] < 2 * np.log(encoder.vocab_size)


def test_metadata_survives():
    """What a shard says of itself is read back equal; a foreign file is refused."""
    rows, _ = pack(tokens_table([[5, 6]]), seq_length=8, packing="none", special_ids=SPECIAL, vocab_size=300, seed=0)
    assert shard_metadata(describe(rows, METADATA).schema) == METADATA
    with pytest.raises(ValueError, match="not a shard"):
        shard_metadata(rows.schema)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=90), st.integers(1, 12), st.integers(0, 5))
@example(list(range(17, 2017, 10)), 12, 0)  # two groups, the border within a unit
def test_shares_tile_every_unit(weights, num_shards, seed):
    """Every position of every unit is in exactly one share, and shards weigh the same up to one for each share."""
    shards = assign_shards(np.array(weights, np.int64), num_shards, seed=seed)
    assert len(shards) == num_shards
    covered = {unit: [] for unit, weight in enumerate(weights) if weight}
    for shares in shards:
        for share in shares:
            covered[share.unit].append((share.start, share.stop))
    for unit, ranges in covered.items():
        edges = sorted(ranges)
        assert edges[0][0] == 0
        assert edges[-1][1] == weights[unit]
        assert all(left[1] == right[0] for left, right in pairwise(edges))
    sizes = [sum(share.stop - share.start for share in shares) for shares in shards]
    assert max(sizes) - min(sizes) <= max(map(len, shards), default=0) + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.sampled_from([1e-6, 0.3, 1.0, 2.5, 40.0]))), st.integers(1, 12))
def test_shares_of_repeated_sources(units, num_shards):
    """Units that are packed more or less often are tiled too, and shards are equal in what they hold."""
    weights, repeats = [weight for weight, _ in units], [repeat for _, repeat in units]
    shards = assign_shards(np.array(weights, np.int64), num_shards, seed=0, repeat_U=np.array(repeats))
    covered = {unit: [] for unit, weight in enumerate(weights) if weight}
    for shares in shards:
        for share in shares:
            covered[share.unit].append((share.start, share.stop))
    for unit, ranges in covered.items():
        edges = sorted(ranges)
        assert (edges[0][0], edges[-1][1]) == (0, weights[unit])
        assert all(left[1] == right[0] for left, right in pairwise(edges))
    sizes = [sum((s.stop - s.start) * max(repeats[s.unit], 0.01) for s in shares) for shares in shards]
    assert max(sizes) - min(sizes) <= 2 + 2 * sum(max(repeat, 1) for repeat in repeats)


def test_groups_of_repeated_sources_weigh_the_same():
    """Of many units, some packed ten times: shards of different groups hold the same, up to a tenth."""
    repeats = np.where(np.arange(300) % 3, 1.0, 10.0)
    shards = assign_shards(np.full(300, 1000), 30, seed=1, repeat_U=repeats)
    assert len({tuple(sorted({share.unit for share in shares})) for shares in shards}) > 5  # groups
    sizes = [sum((share.stop - share.start) * repeats[share.unit] for share in shares) for shares in shards]
    assert max(sizes) < 1.1 * min(sizes)


def test_a_share_of_one_empty_document():
    """An empty document has a place of its own, also as the last of a batch."""
    tokens = tokens_table([[], [], [], [7]], chunks=4)
    for place in range(4):
        assert take_share(tokens, Share(0, place, place + 1))["doc_id"].to_pylist() == [100 + place]


def test_shards_mix_units():
    """A few units are all in every shard; of many, a shard takes about 32, and each seed others."""
    few = assign_shards(np.full(5, 10_000), 4, seed=0)
    assert [len(shares) for shares in few] == [5] * 4
    many = assign_shards(np.full(1000, 10_000), 100, seed=0)
    assert all(28 <= len(shares) <= 40 for shares in many)
    units = [{share.unit for share in shares} for shares in many]
    assert max(units[0]) - min(units[0]) > 500
    assert units[0] != {share.unit for share in assign_shards(np.full(1000, 10_000), 100, seed=1)[0]}


def test_shares_take_every_document_once():
    """Documents, empty ones too, go to the share that holds their position; none is lost or doubled."""
    rng = np.random.default_rng(3)
    units = [[[7] * n for n in rng.integers(0, 9, num).tolist()] for num in (0, 1, 50, 200)]
    tables = [tokens_table(documents, chunks=3) for documents in units]
    weights = np.array([sum(map(len, documents)) + len(documents) for documents in units])
    taken = [[] for _ in units]
    sizes = []
    for shares in assign_shards(weights, 6, seed=0):
        tables_of_shard = [take_share(tables[share.unit], share) for share in shares]
        sizes.append(sum(table.num_rows for table in tables_of_shard))
        for share, table in zip(shares, tables_of_shard, strict=True):
            taken[share.unit] += table["doc_id"].to_pylist()
    assert [sorted(ids) for ids in taken] == [[100 + i for i in range(len(documents))] for documents in units]
    assert min(sizes) > 20
    assert document_positions(np.array([3, 0, 2])).tolist() == [0, 4, 5]


@pytest.mark.parametrize(("tokens", "shards"), [(0, 1), (1, 1), (1 << 25, 1), ((1 << 25) + 1, 2), (10**13, 4096)])
def test_number_of_shards(tokens, shards):
    """One shard for every 33 million tokens, at most 4096."""
    assert choose_num_shards(tokens) == shards


def test_too_many_shards():
    """More maps than Linux allows are refused with the number."""
    with pytest.raises(ValueError, match="4097"):
        assign_shards(np.array([1]), 4097, seed=0)


def test_validation_by_content():
    """A fraction of all hashes, at least 20 documents, or half of a tiny corpus."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)
    threshold = validation_threshold(0.01, np.sort(hashes)[:20], len(hashes))
    assert threshold == int(0.01 * 2**64) == validation_threshold(0.01, None, len(hashes))
    assert 900 < is_validation(hashes, threshold).sum() < 1100
    for num_documents, expected in ((1000, 20), (41, 20), (30, 15), (2, 1), (1, 0), (0, 0)):
        few = hashes[:num_documents]
        threshold = validation_threshold(1e-6, np.sort(few)[:20], num_documents)
        assert is_validation(few, threshold).sum() == expected
    assert validation_threshold(0.0, hashes[:20], 100) == 0
    largest = np.full(3, 2**64 - 1, np.uint64)
    assert is_validation(largest, validation_threshold(0.1, largest, 3)).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_validation_fraction_is_checked(fraction):
    """No fraction that leaves nothing to train on."""
    with pytest.raises(ValueError, match=str(fraction)):
        validation_threshold(fraction, np.zeros(1, np.uint64), 9)
