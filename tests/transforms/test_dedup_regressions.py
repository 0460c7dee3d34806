"""Bugs of other deduplicators, found by reading their source or their issues: a test for each that ours must pass."""

import re

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import ROOT
from tests.transforms.test_dedup import NEAR, PARAMETERS, PROSE, edges_of, generated, sign, survivors
from transforms.commit import UnitWriter
from transforms.committed import map_table, read_table
from transforms.dedup import cluster_size, components
from transforms.fingerprint import MinHashParameters, check_metadata, fingerprint, signature_rows
from transforms.runs import band_run, prefix_bounds, prefix_slice
from transforms.unit import WorkUnit


def test_dolma_minimum_length_turned_dedup_off():
    """A longer shingle spares short documents from near-duplicate search, not from exact duplicates."""
    parameters = MinHashParameters(ngram=64)
    unit = sign(["only four words here", PROSE, "only four words here", PROSE], parameters=parameters)
    assert survivors([unit], parameters=parameters) == [0, 1, 0, 1]


def test_dolma_mixed_characters_and_bytes():
    """Non-ASCII neighbours in a batch do not shift where a document begins: each signs as it does alone."""
    texts = ["\u4e2d\u6587 " * 9, PROSE, "\U0001f600\u0301 \u00e9" * 30, NEAR, "\u0e01\u0e34" * 12]
    together = sign(texts)
    for n, text in enumerate(texts):
        assert together.slice(n, 1).drop_columns("doc_id").equals(sign([text]).drop_columns("doc_id"))


def test_data_juicer_lost_the_batch_of_a_poisoned_document():
    """Bytes that are no UTF-8 cost their own document nothing but those bytes, and the others nothing at all."""
    broken = pa.array([PROSE.encode(), b"\xff\xfe\xed\xa0\x80" * 50, b"\x00" * 9, NEAR.encode()], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 4, broken.buffers())
    signed = fingerprint(pa.record_batch({"doc_id": pa.array(range(4), pa.int64()), "text": texts}), PARAMETERS)
    assert signed.num_rows == 4
    assert survivors([pa.table(signed)]) == [0, 1, 2, 0]


@pytest.mark.parametrize("num_words", [0, 1, 4])
def test_data_juicer_raised_on_documents_shorter_than_a_shingle(num_words):
    """They have no signature and are compared by their text."""
    short = " ".join("abcd"[:num_words])
    unit = sign([short, PROSE, short])
    assert unit.column("minhash").null_count == 2
    assert survivors([unit]) == [0, 1, 0]


def test_datatrove_short_documents_were_never_duplicates():
    """Copies of three words are copies."""
    assert survivors([sign(["three small words", "three small words", "three other words"])]) == [0, 0, 2]


def test_datatrove_counted_sentences_in_16_bits():
    """A document of 70,000 sentences that differs in the last ones from another is still its near-duplicate."""
    sentences = [f"Sentence {number} says that {number * 7} is seen." for number in range(70_000)]
    changed = [*sentences[:-300], *(f"Something else {number} was put here instead." for number in range(300))]
    unit = sign([" ".join(sentences), " ".join(changed), " ".join(sentences[:1000])])
    assert survivors([unit]) == [0, 0, 2]


def test_datatrove_constant_of_half_the_hashes():
    """1 << 32 - 1 is 2^31: our partitions reach from the smallest to the largest 64-bit key, all equally wide."""
    edges = np.array([0, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, 3 << 62, (1 << 64) - 1], np.uint64)
    assert prefix_bounds(edges, 4).tolist() == [0, 2, 4, 5, 7]


def test_datatrove_files_without_header_version_or_checksum(tmp_path):
    """A file that is cut, changed, or made with other parameters is refused by name."""
    out = str(tmp_path)
    writer = UnitWriter(out, "clean", WorkUnit("web-000000", 0, "key"))
    writer.write("signatures", sign([PROSE, NEAR]))
    record = writer.commit({})
    schema = read_table(out, record, "signatures").schema
    check_metadata(schema, PARAMETERS)
    for other, key in ((MinHashParameters(ngram=6), "ngram"), (MinHashParameters(seed=2), "seed")):
        with pytest.raises(ValueError, match=f"signatures have {key}"):
            check_metadata(schema, other)
    path = tmp_path / "signatures" / "web-000000.arrow"
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    for read in (read_table, map_table):
        with pytest.raises(RuntimeError, match="web-000000"):
            read(out, record, "signatures")
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(RuntimeError, match="is not what was committed"):
        read_table(out, record, "signatures")


def test_datatrove_took_unsorted_files_for_sorted():
    """A run that is not in the order in which it was written is refused, whatever partition the disorder is in."""
    key_E = band_run(sign([PROSE, NEAR]), PARAMETERS).column("key").to_numpy()
    assert sum(len(key_E[prefix_slice(key_E, 4, part)]) for part in range(4)) == len(key_E)
    for swapped in ([0, -1], [len(key_E) // 2, 0]):
        broken_E = key_E.copy()
        broken_E[swapped] = broken_E[swapped[::-1]]
        with pytest.raises(ValueError, match="not ordered by key"):
            [prefix_slice(broken_E, 4, part) for part in range(4)]


def test_datatrove_bound_ranks_to_the_order_of_files():
    """Files listed in any order, and another file at the end, change nothing for the documents that were there."""
    rng = np.random.default_rng(3)
    sig_NK = np.repeat(rng.integers(0, 1 << 32, (80, 112), np.uint32), 3, axis=0)
    sig_NK[rng.random(sig_NK.shape) < 0.05] = 7
    sig_NK = rng.permutation(sig_NK)
    units = [generated(part, start) for part, start in zip(np.split(sig_NK, 4), (0, 60, 120, 180), strict=True)]
    starts = [0, 60, 120, 180]
    expected = components(edges_of(units, starts), 240)
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        shuffled = edges_of([units[i] for i in order], [starts[i] for i in order], num_partitions=8)
        assert components(shuffled, 240).tolist() == expected.tolist()
    more = edges_of([*units, generated(sig_NK[:50], 240)], [*starts, 240])
    assert components(more, 290)[:240].tolist() == expected.tolist()


def test_text_dedup_could_lose_a_whole_cluster():
    """Every cluster keeps exactly one document, its own smallest."""
    parent_N = np.array(survivors([sign([NEAR, "alone here", PROSE, PROSE, "alone here", NEAR])]), np.uint32)
    assert parent_N.tolist() == [0, 1, 0, 0, 1, 0]
    assert cluster_size(parent_N).tolist() == [4, 2, 0, 0, 0, 0]


def test_text_dedup_collapsed_empty_documents_with_others():
    """Empty documents are copies of each other, and of nothing else."""
    assert survivors([sign(["", " ", "", "x", "...", "", "x"])]) == [0, 1, 0, 3, 4, 0, 3]


def test_text_dedup_was_quadratic_in_the_bucket():
    """A bucket of 100,000 like documents of which none is like the first: two links each at most."""
    sig_NK = np.repeat(np.arange(112, dtype=np.uint32)[None], 100_000, axis=0)
    sig_NK[0, 8:] = 5  # shares the first band with all others, and nothing else
    edges = edges_of([generated(sig_NK)], [0])[1]
    assert edges.num_rows < 200_000
    assert components([edges], 100_000).tolist() == [0, *[1] * 99_999]


def test_redpajama_depended_on_the_hash_seed_of_python():
    """The built-in hash of strings differs from process to process; no source calls it."""
    for path in [path for top in ("transforms", "pipeline") for path in (ROOT / top).rglob("*.py")]:
        assert not re.search(r"(?<![\w.])hash\(", path.read_text(encoding="utf-8")), path


def test_datasketch_1_wrapped_before_the_modulus():
    """Signatures of 40,000 shingles, a third of them shared, err by no more than three standard errors."""
    shared, left, right = (
        " ".join(f"{name}{number}" for number in range(20_000)) for name in ("shared", "left", "right")
    )
    parameters = MinHashParameters(bands=64, rows=32, ngram=1)
    unit = sign([f"{shared} {left}", f"{shared} {right}"], parameters=parameters)
    sig_NK, _ = signature_rows(unit.column("minhash").combine_chunks())
    assert (sig_NK[0] == sig_NK[1]).mean() == pytest.approx(1 / 3, abs=3 * np.sqrt(2 / 9 / 2048))


def test_nemo_and_datatrove_lost_who_the_owner_of_a_hash_was():
    """A run names the row of each document behind a hash, so every pair can be told."""
    run = band_run(sign([PROSE, "short", PROSE]), PARAMETERS)
    assert sorted(set(run.column("row").to_pylist())) == [0, 2]
