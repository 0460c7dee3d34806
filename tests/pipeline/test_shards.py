"""The shards of a run: several lengths of rows, equal sizes, and nothing in train that validation has."""

import json
from collections import Counter

import datasets
import fsspec
import pyarrow as pa
import pytest

from pipeline import leakage
from pipeline.errors import UserError
from tests.pipeline.corpus import column_hashes, counts, records, run_stages, write_config, write_corpus
from transforms import shards as shards_module
from transforms import storage
from transforms.commit import load_records
from transforms.committed import read_table
from transforms.shards import validation_threshold


@pytest.fixture
def directory(tmp_path):
    write_corpus(tmp_path / "corpus", files=2, per_file=60)
    return tmp_path


def tokens_of(out):
    """The ids of every document in tokens/, by doc_id."""
    tables = [read_table(str(out), record, "tokens") for record in load_records(str(out), "tokenize").values()]
    return {row["doc_id"]: row["ids"] for table in tables for row in table.select(["doc_id", "ids"]).to_pylist()}


def documents_of(rows):
    """The ids of every document in the rows of a split, put together from its pieces, by doc_id."""
    pieces = {}
    for row in rows:
        start = 0
        for length, doc_id, first in zip(row["document_lengths"], row["doc_ids"], row["piece_starts"], strict=True):
            pieces.setdefault(doc_id, []).append((first, row["input_ids"][start + 1 : start + length - 1]))
            start += length
    return {doc_id: [token for _, part in sorted(found) for token in part] for doc_id, found in pieces.items()}


def test_several_lengths_hold_the_same_documents(directory):
    """Each length has its directory, all with every token of the same split, and encoding is not repeated."""
    path, out = write_config(directory), directory / "out"
    run_stages(path, overrides=["dedup.minhash=null"])
    one = column_hashes(out)
    run_stages(path, overrides=["dedup.minhash=null", "tokenize.seq_length=[64, 16, 256]"])
    tokens = tokens_of(out)
    for name, length in (("shards", 64), ("shards-16", 16), ("shards-256", 256)):
        loaded = datasets.load_from_disk(str(out / name))
        train, validation = (documents_of(loaded[split]) for split in ("train", "validation"))
        assert not set(train) & set(validation)
        assert train | validation == tokens
        assert max(map(len, loaded["train"]["input_ids"])) == length
    assert column_hashes(out)["shards"] == one["shards"]
    assert column_hashes(out)["tokenize"] == one["tokenize"]
    described = json.loads((out / "run.json").read_text())["stages"]["shards"]["other_lengths"]
    assert set(described) == {"shards-16", "shards-256"}
    assert described["shards-256"]["counts"]["train"]["tokens"] == counts(out)["shards"]["train"]["tokens"]


def test_a_length_that_is_configured_no_longer_is_removed(directory):
    """Its directory, its records and its entry go; asking twice for several lengths does nothing the second time."""
    path, out = write_config(directory), directory / "out"
    run_stages(path, overrides=["tokenize.seq_length=[64, 16]"])
    _, said = run_stages(path, overrides=["tokenize.seq_length=[64, 16]"])
    assert said == []
    (out / "shards-mine").mkdir()
    _, said = run_stages(path)
    assert any("no longer planned" in line for line in said)
    assert not (out / "shards-16").exists()
    assert not (out / "units" / "shards-16").exists()
    assert (out / "shards-mine").exists()
    assert "other_lengths" not in json.loads((out / "run.json").read_text())["stages"]["shards"]


def test_shards_are_of_one_size(directory, monkeypatch):
    """Many shards of units with unequal weights: tokens of any two differ by less than 10%."""
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 100_000)
    other = directory / "corpus" / "other.jsonl"
    other.write_text("".join(json.dumps(record) + "\n" for record in records(2000, seed=9)))
    sources = [
        {"name": "web", "format": "jsonl", "path": str(directory / "corpus" / "part-*"), "weight": 1.0},
        {"name": "books", "format": "jsonl", "path": str(other), "weight": 3.0},
    ]
    path = write_config(directory, sources=sources, unit_bytes=150_000)
    run_stages(path, overrides=["tokenize.validation=0"])
    sizes = []
    for record in load_records(str(directory / "out"), "shards").values():
        table = read_table(str(directory / "out"), record, "shards/train")
        sizes.append(sum(map(len, table["input_ids"].to_pylist())))
    assert len(sizes) >= 5
    assert max(sizes) < 1.1 * min(sizes)
    rows = json.loads((directory / "out/shards/train/dataset_info.json").read_text())["splits"]["train"]
    assert len(rows["shard_lengths"]) == len(sizes)
    assert sum(rows["shard_lengths"]) == rows["num_examples"] == counts(directory / "out")["shards"]["train"]["rows"]


def test_an_object_store_holds_the_same(directory):
    """A run whose output is a URL gives the same shards, in every length, and removes what is no longer planned."""
    memory = fsspec.filesystem("memory")
    path, url = write_config(directory), "memory://bucket/out"
    lengths = "tokenize.seq_length=[64, 16]"
    try:
        run_stages(path, overrides=[lengths])
        run_stages(path, overrides=[lengths, f"output={url}"])
        stages = [storage.read_json(storage.join(out, "run.json"))["stages"] for out in (str(directory / "out"), url)]
        for name in ("tokenize", "shards"):
            assert stages[0][name]["column_hashes"] == stages[1][name]["column_hashes"]
        hashes = [stage["shards"]["other_lengths"]["shards-16"]["column_hashes"] for stage in stages]
        assert hashes[0] == hashes[1]
        assert memory.exists("/bucket/out/shards-16/train/state.json")
        run_stages(path, overrides=[f"output={url}"])
        assert not memory.find("/bucket/out/shards-16")
        assert not memory.find("/bucket/out/units/shards-16")
    finally:
        memory.rm("/bucket", recursive=True)


def shingles(text):
    words = text.lower().split()
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def test_nothing_in_train_is_nearly_a_validation_document(directory):
    """Pairs that dedup keeps, being below its threshold, are never divided between the splits."""
    path, out = write_config(directory), directory / "out"
    options = ["dedup.exact=false", "dedup.minhash.threshold=1.0", "tokenize.validation=0.3"]
    run_stages(path, overrides=options)
    tables = [pa.ipc.open_file(out / "documents" / f"{unit}.arrow").read_all()
              for unit in load_records(str(out), "clean")]  # fmt: skip
    text_of = {row["doc_id"]: row["text"] for table in tables for row in table.to_pylist()}
    loaded = datasets.load_from_disk(str(out / "shards"))
    train, validation = (set(documents_of(loaded[split])) for split in ("train", "validation"))
    tokens = set(tokens_of(out))
    left_out = tokens - train - validation
    assert len(left_out) == counts(out)["shards"]["near_validation"] > 0
    held_out = [shingles(text_of[doc_id]) for doc_id in validation]

    def nearest(doc_id):
        found = shingles(text_of[doc_id])
        return max(len(found & other) / len(found | other) for other in held_out)

    assert max(map(nearest, train)) < 0.75
    assert min(map(nearest, left_out)) > 0.4
    run_stages(path, overrides=[*options, "tokenize.validation=0"])
    assert counts(out)["shards"]["near_validation"] == 0
    assert set(documents_of(datasets.load_from_disk(str(out / "shards"))["train"])) == tokens


def test_validation_stays_when_data_is_added(directory):
    """The documents that were in validation are in it still, beside new ones."""
    path, out = write_config(directory), directory / "out"
    options = ["tokenize.validation=0.5"]
    run_stages(path, overrides=options)
    before = set(documents_of(datasets.load_from_disk(str(out / "shards"))["validation"]))
    more = directory / "corpus" / "part-9.jsonl"
    more.write_text("".join(json.dumps(record) + "\n" for record in records(60, seed=77)))
    run_stages(path, overrides=options)
    after = set(documents_of(datasets.load_from_disk(str(out / "shards"))["validation"]))
    assert Counter(doc_id in after for doc_id in before) == {True: len(before)}
    assert len(after) > len(before) >= 10


PAIRS = "tokenize.packing=pairs"


def test_pairs_from_the_run_to_a_trained_model(directory, tmp_path):
    """A run with next-sentence prediction: rows of pairs of one language and source, and a model trained on both."""
    german = "Der Hund und die Katze sitzen auf der Bank. Sie warten auf den Mann. Er kommt mit dem Brot nach Hause. "
    lines = [json.dumps({"text": german + f"Das ist der Tag {n}. Und der Abend {n * 7}."}) for n in range(6)]
    (directory / "corpus" / "part-7.jsonl").write_text("\n".join(lines) + "\n")
    path = write_config(
        directory,
        clean={"language": {"keep": ["en", "de"], "threshold": 0.0}},
        dedup={"minhash": None},
        pretrain={
            "model": "bert-base", "layers": 1, "width": 32, "heads": 2, "objective": "mlm+nsp", "steps": 3,
            "batch_rows": 4, "threads": 1,
        },
    )  # fmt: skip
    out = directory / "out"
    with pytest.raises(UserError, match="set tokenize.packing to pairs"):
        run_stages(path, last="pretrain")
    _, _ = run_stages(path, last="pretrain", overrides=[PAIRS, "tokenize.validation=0.3"])
    language_of = {
        row["doc_id"]: row["language"]
        for record in load_records(str(out), "clean").values()
        for row in pa.ipc.open_file(out / record.tables["documents"].path).read_all().to_pylist()
    }
    assert set(language_of.values()) >= {"en", "de"}
    loaded = datasets.load_from_disk(str(out / "shards"))
    splits = {}
    for split in ("train", "validation"):
        for row in loaded[split]:
            a, b = row["doc_ids"]
            assert language_of[a] == language_of[b]
            assert (a == b) == (row["next_sentence_label"] == 0)
            assert len(row["input_ids"]) == len(row["token_type_ids"]) <= 64
            splits.setdefault(split, set()).update((a, b))
    assert splits["train"]
    assert not splits["train"] & splits["validation"]
    told = counts(out)["shards"]["train"]
    assert told["rows"] == len(loaded["train"])
    assert told["random"] == sum(loaded["train"]["next_sentence_label"])
    assert 0 <= told["forced"] <= told["random"] < told["rows"]
    summary = json.loads((out / "run.json").read_text())["stages"]["pretrain"]["summary"]
    assert 0 <= summary["next_sentence_accuracy"] <= 1


def test_packed_documents_and_pairs_have_their_own_tokens(directory):
    """Sentences are found only for pairs; going there and back gives the rows of before."""
    path, out = write_config(directory), directory / "out"
    run_stages(path)
    packed = column_hashes(out)
    run_stages(path, overrides=[PAIRS])
    assert "sentence_starts" in column_hashes(out)["tokenize"]["tokens"]
    assert column_hashes(out)["tokenize"]["tokens"]["ids"] == packed["tokenize"]["tokens"]["ids"]
    assert "next_sentence_label" in column_hashes(out)["shards"]["shards/train"]
    run_stages(path)
    assert column_hashes(out) == packed


def test_a_tiny_fraction_holds_few_hashes(tmp_path, monkeypatch):
    """Of all content hashes the smallest 20 are kept, and the split is that of all of them."""
    write_corpus(tmp_path / "corpus", files=2, per_file=60)
    tokenize = {"tokenizer": {"train": "wordpiece", "vocab_size": 400}, "seq_length": 64, "validation": 0.000001}
    given = []

    def remember(fraction, hashes, num_documents):
        given.append(hashes)
        return validation_threshold(fraction, hashes, num_documents)

    monkeypatch.setattr(leakage, "validation_threshold", remember)
    run_stages(write_config(tmp_path, tokenize=tokenize))
    out = str(tmp_path / "out")
    tables = [read_table(out, record, "tokens") for record in load_records(out, "tokenize").values()]
    hashes = [value for table in tables for value in table.column("content_hash").to_pylist()]
    assert len(hashes) > 40
    assert [held.tolist() for held in given] == [sorted(hashes)[:20]] * len(given) != []


def test_many_validation_documents(tmp_path):
    """Where the fraction alone gives hundreds of documents, it is the split."""
    write_corpus(tmp_path / "corpus", files=2, per_file=300)
    tokenize = {"tokenizer": {"train": "wordpiece", "vocab_size": 400}, "seq_length": 64, "validation": 0.9}
    run_stages(write_config(tmp_path, tokenize=tokenize))
    splits = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]["shards"]["counts"]
    train, validation = splits["train"]["documents"], splits["validation"]["documents"]
    assert 0.9 * (train + validation) > leakage.PLENTY
    assert 0.85 < validation / (train + validation) < 0.95
