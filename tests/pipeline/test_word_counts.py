"""The words that a tokenizer is trained on: counted by unit, once, of the sample that was asked for."""

import numpy as np
import pyarrow as pa
import pytest

import pipeline.context
import pipeline.word_counts
from tests.pipeline.corpus import run_stages, write_config, write_corpus
from transforms.commit import load_records
from transforms.committed import read_table
from transforms.documents import surviving_batches
from transforms.fingerprint import content_hash
from transforms.tokenizer import TrainParameters, language_rates, sample_copies, tokenizer_files, train_tokenizer


@pytest.fixture
def directory(tmp_path):
    write_corpus(tmp_path / "corpus", files=2, per_file=40)
    return tmp_path


def choose(**choice):
    return {"tokenizer": {"train": "wordpiece", "vocab_size": 400} | choice, "seq_length": 64}


def tokenizer_of(directory):
    return (directory / "out" / "tokenizer" / "tokenizer.json").read_text("utf-8")


def sample(out, *, sample_bytes, temperature):
    """The texts that are read, each as often as it is, one after the other in this process."""
    texts, languages = [], []
    for name in load_records(out, "clean"):
        for batch in surviving_batches(out, name):
            texts += batch.column("text").to_pylist()
            languages += [language or "" for language in batch.column("language").to_pylist()]
    sizes = {}
    for text, language in zip(texts, languages, strict=True):
        sizes[language] = sizes.get(language, 0) + len(text.encode())
    rates = language_rates(sizes, sample_bytes=sample_bytes, temperature=temperature)
    hashes = content_hash(pa.array(texts, pa.string()))
    copies = [sample_copies(hashes[n : n + 1], rates[language])[0] for n, language in enumerate(languages)]
    return [text for text, times in zip(texts, copies, strict=True) for _ in range(times)]


@pytest.mark.parametrize(
    ("model", "sampled"),
    [
        ("wordpiece", {}),
        ("wordpiece", {"sample_bytes": 60_000, "temperature": 0.2}),
        ("bpe", {"sample_bytes": 20_000}),
        ("unigram", {"sample_bytes": 60_000, "temperature": 0.2}),
    ],
)
def test_the_tokenizer_is_that_of_the_sampled_texts(directory, monkeypatch, model, sampled):
    """Counted by unit, and written whenever ten words are held, the words give what the texts give at once."""
    real = pipeline.word_counts.surviving_batches

    def by_five(*arguments, **options):
        for batch in real(*arguments, **options):
            yield from (batch.slice(start, 5) for start in range(0, batch.num_rows, 5))

    monkeypatch.setattr(pipeline.word_counts, "surviving_batches", by_five)
    monkeypatch.setattr(pipeline.word_counts, "_MOST_WORDS", 10)
    # Languages are detected in a corpus of random words, so there are several.
    clean = {"language": {"threshold": 0.0}}
    path = write_config(directory, clean=clean, tokenize=choose(train=model, **sampled), unit_bytes=30_000)
    run_stages(path)
    out = str(directory / "out")
    assert len(load_records(out, "tokenizer-words")) > 2
    asked = {"sample_bytes": 1 << 30, "temperature": 1.0} | sampled
    texts = sample(out, **asked)
    expected = train_tokenizer(texts, TrainParameters(model=model, vocab_size=400))
    assert tokenizer_of(directory) == tokenizer_files(expected, seq_length=64)["tokenizer.json"]
    tables = [read_table(out, record, "work/words") for record in load_records(out, "tokenizer-words").values()]
    assert any(table.num_rows > len(set(table.column("word").to_pylist())) for table in tables)
    assert np.concatenate([table.column("count").to_numpy() for table in tables]).min() > 0


def test_words_are_counted_once(directory, monkeypatch):
    """Another vocabulary reads no text; another sample, model or language balance does; a new file only itself."""
    path = write_config(directory, tokenize=choose(), unit_bytes=30_000)
    run_stages(path)
    num_units = len(load_records(str(directory / "out"), "clean"))
    made = []
    real = pipeline.context.run_job

    def noted(engine, out, job, units, say, found):
        made.append((job.stage, len(found.pending)))
        return real(engine, out, job, units, say, found)

    monkeypatch.setattr("pipeline.context.run_job", noted)

    def pending(**choice):
        made.clear()
        write_config(directory, tokenize=choose(**choice), unit_bytes=30_000)
        run_stages(path)
        return [dict(made)[job] for job in ("tokenizer-sizes", "tokenizer-words", "tokenizer")]

    assert pending() == [0, 0, 0]
    assert pending(vocab_size=300) == [0, 0, 1]
    assert pending(pad_vocab_to=64) == [0, 0, 1]
    assert pending(sample_bytes=20_000) == [0, num_units, 1]
    assert pending(train="bpe") == [0, num_units, 1]
    assert pending() == [0, num_units, 1]
    write_corpus(directory / "more", files=1, per_file=9)
    (directory / "more" / "part-0.jsonl").rename(directory / "corpus" / "part-9.jsonl")
    fewer, again, trained = pending()
    assert 0 < fewer == again < num_units
    assert trained == 1


def test_a_tokenizer_that_is_loaded_leaves_no_counts(directory):
    """What was counted for the one that was trained before is removed."""
    path = write_config(directory, tokenize=choose())
    run_stages(path)
    assert list((directory / "out" / "work" / "words").glob("*.arrow"))
    own = directory / "own.json"
    own.write_text(tokenizer_of(directory), "utf-8")
    write_config(directory, tokenize={"tokenizer": {"load": str(own)}, "seq_length": 64})
    run_stages(path)
    assert not list((directory / "out" / "work" / "words").glob("*.arrow"))
    assert not load_records(str(directory / "out"), "tokenizer-words")
