"""From signatures to deletions: against brute force, in any order, cut into any partitions."""

import json
import random
import time
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import components as reference_components
from tests.reference import lsh as reference
from transforms import dedup
from transforms.dedup import (
    EDGES,
    cluster_counts,
    cluster_size,
    components,
    deletions,
    edge_table,
    link_exact,
    link_minhash,
    origins,
    spanning_forest,
    split_clusters,
)
from transforms.evidence import ShingleRows, SignatureRows, least_equal, shingle_rows
from transforms.fingerprint import MinHashParameters, fingerprint, metadata, probability, signature_rows
from transforms.kernels.components import SURVIVORS
from transforms.kernels.lsh import WINDOW, band_keys
from transforms.kernels.minhash import shingles
from transforms.kernels.strings import string_views
from transforms.kernels.words import word_table
from transforms.runs import BAND_RUN, EXACT_RUN, band_run, exact_run, prefix_bounds
from transforms.schema import DELETIONS, signatures_schema

PARAMETERS = MinHashParameters()


def sign(texts, first_id=0, parameters=PARAMETERS):
    """The signatures of one unit."""
    ids = pa.array(range(first_id, first_id + len(texts)), pa.int64())
    return pa.table(fingerprint(pa.record_batch({"doc_id": ids, "text": pa.array(texts, pa.string())}), parameters))


def generated(sig_NK, first_id=0, parameters=PARAMETERS):
    """Signatures of documents whose texts all differ, in several record batches as a file has them."""
    schema = signatures_schema(parameters.num_perm, metadata(parameters))
    id_N = np.arange(first_id, first_id + len(sig_NK))
    exact = [int(i).to_bytes(16, "little") for i in id_N]
    minhash = pa.FixedSizeListArray.from_arrays(pa.array(sig_NK.reshape(-1)), type=schema.field("minhash").type)
    table = pa.table([id_N, pa.array(exact, pa.binary(16)), minhash], schema=schema)
    return pa.Table.from_batches(table.to_batches(max_chunksize=max(1, len(id_N) // 3)), schema=schema)


def edges_of(units, first_dense, num_partitions=1, parameters=PARAMETERS, threshold=0.75, verify=True):
    """The edges of every partition, exact and minhash, as a stage would make them."""
    exact_runs = [exact_run(unit) for unit in units]
    band_runs = [band_run(unit, parameters) for unit in units]
    signatures = SignatureRows(units, first_dense) if verify else None
    tables = []
    for part in range(num_partitions):
        key_E, check_E, dense_E = slices(exact_runs, first_dense, num_partitions, part)
        tables.append(link_exact(key_E, check_E, dense_E))
        key_E, dense_E = slices(band_runs, first_dense, num_partitions, part)
        tables.append(link_minhash(key_E, dense_E, threshold=threshold, evidence=signatures))
    return tables


def slices(runs, first_dense, num_partitions, part):
    """The columns of one partition of all runs, the last turned into dense indices."""
    columns = []
    for run, first in zip(runs, first_dense, strict=True):
        start, stop = prefix_bounds(run.column("key").to_numpy(), num_partitions)[part : part + 2]
        *values, row = (column.to_numpy()[start:stop] for column in run.columns)
        columns.append([*values, (row + first).astype(np.uint32)])
    return [np.concatenate(column) for column in zip(*columns, strict=True)]


def survivors(units, **options):
    """The survivor of every document, units numbered in the order given."""
    first_dense = np.cumsum([0, *(unit.num_rows for unit in units)]).tolist()
    return components(edges_of(units, first_dense[:-1], **options), first_dense[-1]).tolist()


def deleted(survivor_N, unit, first=0):
    """The deletions of one unit that is alone, or of a slice of several."""
    origin_N, replaced_N = origins([], [link_exact(*slices([exact_run(unit)], [0], 1, 0))], unit.num_rows)
    rows = SignatureRows([unit], [0])
    return deletions(np.asarray(survivor_N, np.uint32), origin_N, replaced_N, first, signatures=rows, evidence=rows)


def split(parent_N, tables, evidence, threshold=0.75):
    """Cut the components `parent_N` of the edges in `tables`, in place."""
    _, pair_F = spanning_forest(tables, len(parent_N))
    split_clusters(parent_N, pair_F, evidence, threshold=threshold)


PROSE = " ".join(f"word{number}" for number in range(200))
NEAR = PROSE.replace("word100 ", "changed ")


def test_exact_near_and_short():
    """Exact copies whatever their length, near-duplicates by signature, short documents by text alone."""
    texts = [PROSE, "too short", NEAR, "TOO SHORT", "too short", "", "x", PROSE, ""]
    unit = sign(texts)
    parent_N = np.array(survivors([unit]), np.uint32)
    assert parent_N.tolist() == [0, 1, 0, 3, 1, 5, 6, 0, 5]
    found = deleted(parent_N, unit)
    assert found.schema.equals(DELETIONS)
    assert found.drop_columns("similarity").to_pylist() == [
        {"doc_id": 2, "reason": "minhash", "twin_id": 0, "twin_run": None},
        {"doc_id": 4, "reason": "exact", "twin_id": 1, "twin_run": None},
        {"doc_id": 7, "reason": "exact", "twin_id": 0, "twin_run": None},
        {"doc_id": 8, "reason": "exact", "twin_id": 5, "twin_run": None},
    ]
    sig_NK, _ = signature_rows(unit.column("minhash").combine_chunks())
    assert found.column("similarity").to_pylist() == [np.float32((sig_NK[2] == sig_NK[0]).mean()), 1.0, 1.0, 1.0]
    assert cluster_size(parent_N).tolist() == [3, 2, 0, 1, 0, 2, 1, 0, 0]
    assert cluster_counts(cluster_size(parent_N)) == {1: 2, 2: 2, 3: 1}


def test_exact_without_minhash():
    """Signatures of exact dedup alone still find exact duplicates, and say so."""
    unit = sign(["a b c d e f", "b", "a b c d e f", "b"], parameters=None)
    edges = link_exact(*slices([exact_run(unit)], [0], 1, 0))
    parent_N = components([edges], 4)
    assert parent_N.tolist() == [0, 1, 0, 1]
    found = deleted(parent_N, unit)
    assert found.column("reason").to_pylist() == ["exact", "exact"]
    assert found.column("similarity").to_pylist() == [1.0, 1.0]


def test_half_a_hash_is_not_a_duplicate():
    """Two content hashes that agree in the 64 bits of the key only are two documents."""
    key_E = np.array([7, 7, 7, 7], np.uint64)
    check_E = np.array([1, 2, 1, 1 << 32 | 2], np.uint64)
    assert link_exact(key_E, check_E, np.arange(4, dtype=np.uint32)).to_pylist() == [
        {"a": 2, "b": 0, "similarity": 1.0}
    ]


def test_priority_decides_the_survivor():
    """A later unit of a source with priority gets the smaller dense indices, and its copy survives."""
    early, late = sign([PROSE, "unrelated"], 0), sign([NEAR], 100)
    rows = SignatureRows([early, late], [1, 0])
    parent_N = components(edges_of([early, late], [1, 0]), 3)
    assert parent_N.tolist() == [0, 0, 2]
    options = {"signatures": rows, "evidence": rows}
    own_N, none_N = np.arange(3, dtype=np.uint32), np.zeros(3, np.bool_)
    found = deletions(parent_N[1:], own_N[1:], none_N[1:], 1, **options)
    assert found.select(["doc_id", "twin_id", "twin_run"]).to_pylist() == [
        {"doc_id": 0, "twin_id": 100, "twin_run": None}
    ]
    assert deletions(parent_N[:1], own_N[:1], none_N[:1], 0, **options).num_rows == 0
    found = deletions(parent_N[1:], own_N[1:], none_N[1:], 1, **options, runs=[(0, "runs/old"), (1, None)])
    assert found.column("twin_run").to_pylist() == ["runs/old"]


def test_rows_by_dense_index():
    """Any order, repetitions, several units and batches, units without documents among them."""
    units = [
        generated(np.arange(start * 112, (start + size) * 112, dtype=np.uint32).reshape(size, 112), 50 + start)
        for start, size in ((7, 5), (0, 7), (0, 0), (12, 0))
    ]
    rows = SignatureRows(units, [7, 0, 0, 12])
    dense_M = np.array([11, 0, 7, 6, 0, 3], np.uint32)
    assert rows.doc_id(dense_M).tolist() == [61, 50, 57, 56, 50, 53]
    assert rows.minhash(dense_M)[:, 1].tolist() == [112 * n + 1 for n in dense_M.tolist()]
    assert rows.exact(dense_M)[:, 0].tolist() == rows.doc_id(dense_M).tolist()
    assert SignatureRows([], []).minhash(dense_M[:0]).shape == (0, 0)


def test_empty_tables():
    """No documents, or none with a signature, make no run, no edge and no deletion."""
    for unit in (sign([]), sign(["short", "brief"])):
        assert band_run(unit, PARAMETERS).equals(BAND_RUN.empty_table())
        rows = SignatureRows([unit], [0])
        edges = link_minhash(*slices([band_run(unit, PARAMETERS)], [0], 4, 3), threshold=0.75, evidence=rows)
        assert edges.equals(EDGES.empty_table())
        parent_N = components([edges], unit.num_rows)
        assert deleted(parent_N, unit).equals(DELETIONS.empty_table())
    assert exact_run(sign([])).equals(EXACT_RUN.empty_table())


# Five originals, each copied with 0 to all of its 16 values changed: chains, stars and strangers.
SMALL = MinHashParameters(bands=4, rows=4)
drawn_rows = st.tuples(st.integers(0, 4), st.lists(st.integers(0, 15), max_size=16), st.integers(0, 9)).map(
    lambda drawn: [1000 + drawn[2] if k in drawn[1] else 16 * drawn[0] + k for k in range(16)]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(drawn_rows, min_size=1, max_size=40), st.sampled_from([1, 4, 256]), st.randoms(use_true_random=False))
def test_any_order_and_any_partitions(drawn, num_partitions, random):
    """Units and edges in any order and any number of partitions give the edges and survivors of the obvious twin."""
    cuts = sorted(random.sample(range(1, len(drawn)), min(3, len(drawn) - 1)))
    starts = [0, *cuts]
    units = [
        generated(part, start, SMALL)
        for part, start in zip(np.split(np.array(drawn, np.uint32), cuts), starts, strict=True)
    ]
    order = random.sample(range(len(units)), len(units))
    units, starts = [units[u] for u in order], [starts[u] for u in order]
    tables = edges_of(units, starts, num_partitions, SMALL, threshold=0.5)
    random.shuffle(tables)

    keys = [key for row in drawn for key in reference.band_keys(row, 4, 4)]
    buckets = reference.buckets(keys, [n for n in range(len(drawn)) for _ in range(4)])
    expected = set().union(*(reference.links(bucket, dict(enumerate(drawn)), 8, WINDOW) for bucket in buckets))
    assert {(edge["a"], edge["b"]) for table in tables for edge in table.to_pylist()} == expected
    assert components(tables, len(drawn)).tolist() == reference_components.components(len(drawn), sorted(expected))


def test_chunks_do_not_change_the_edges(monkeypatch):
    """Signatures are read in chunks of buckets; one larger than a chunk is cut, and each piece has its smallest."""
    rng = np.random.default_rng(1)
    sig_NK = np.repeat(rng.integers(0, 1 << 32, (60, 112), np.uint32), rng.integers(1, 60, 60), axis=0)
    unit = generated(sig_NK)
    whole = edges_of([unit], [0])[1]
    monkeypatch.setattr(SignatureRows, "chunk", 16)
    assert edges_of([unit], [0])[1].equals(whole)
    assert whole.num_rows == len(sig_NK) - 60


def test_unverified_buckets_link_to_their_smallest():
    """Without verification the edges are the candidates, n - 1 for a bucket, of unknown similarity."""
    sig_NK = np.arange(4 * 112, dtype=np.uint32).reshape(4, 112)
    sig_NK[1:, :8] = sig_NK[0, :8]
    unit = generated(sig_NK)
    assert edges_of([unit], [0])[1].num_rows == 0
    assert edges_of([unit], [0], verify=False)[1].to_pylist() == [
        {"a": a, "b": 0, "similarity": None} for a in (1, 2, 3)
    ]


def test_a_bucket_of_equal_documents_is_linear():
    """100,000 copies of one text: ten times the copies, about ten times the time, and one of them stays."""
    seconds = []
    for num_copies in (1000, 10_000, 100_000):
        unit = generated(np.repeat(np.arange(112, dtype=np.uint32)[None], num_copies, axis=0))
        started = time.process_time()
        parent_N = components(edges_of([unit], [0]), num_copies)
        found = deleted(parent_N, unit)
        seconds.append(time.process_time() - started)
        assert found.num_rows == num_copies - 1
        assert not parent_N.any()
    assert seconds[2] < 40 * seconds[1]  # quadratic: 100 times


def test_too_many_documents():
    """A dense index has 32 bits."""
    with pytest.raises(ValueError, match=str(1 << 32)):
        components([], 1 << 32)


@pytest.mark.parametrize(
    ("threshold", "num_perm", "expected"), [(0.75, 112, 84), (0.7, 10, 7), (0.71, 10, 8), (0, 9, 1)]
)
def test_least_equal(threshold, num_perm, expected):
    """The threshold itself is similar enough, whatever its binary fraction."""
    assert least_equal(threshold, num_perm) == expected


@pytest.fixture(scope="module")
def neardup(shared_data):
    """Some hundred real documents with true near-duplicates: revisions of pages, planted copies, Chinese too."""
    texts = []
    for name, count in (("ibis-docs-revisions", 300), ("minhash-articles-1000", 250), ("oi-wiki-revisions", 60)):
        with zstandard.open(shared_data / "neardup" / name / "docs.jsonl.zst", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for _, line in zip(range(count), lines, strict=False)]
    return texts


def test_real_documents_against_brute_force(neardup):
    """All pairs that share a band and agree in 84 of 112 values are joined, and nothing else is."""
    unit = sign(neardup)
    sig_NK, signed_N = signature_rows(unit.column("minhash").combine_chunks())
    expected = [(a, b) for a, b in combinations(range(len(neardup)), 2) if neardup[a] == neardup[b]]
    for a in np.flatnonzero(signed_N):
        equal_NK = sig_NK[a + 1 :] == sig_NK[a]
        shares_band_N = equal_NK.reshape(-1, 14, 8).all(axis=2).any(axis=1)
        alike_N = shares_band_N & (equal_NK.sum(axis=1) >= 84) & signed_N[a + 1 :]
        expected += [(a, b) for b in (a + 1 + np.flatnonzero(alike_N)).tolist()]
    found = survivors([unit])
    assert len(expected) > 300
    assert found == reference_components.components(len(neardup), expected)
    parts = [sign(neardup[:100]), sign(neardup[100:300], 100), sign(neardup[300:], 300)]
    assert survivors(parts, num_partitions=32) == found


@pytest.mark.parametrize("cut", [False, True])
def test_every_cluster_keeps_exactly_one(neardup, cut):
    """Survivors and deletions tile the documents, each twin is a survivor, and like its copy once chains are cut."""
    unit = sign(neardup)
    tables = edges_of([unit], [0])
    parent_N = components(tables, len(neardup))
    if cut:
        split(parent_N, tables, SignatureRows([unit], [0]))
    found = deleted(parent_N, unit)
    twins = dict(zip(found.column("doc_id").to_pylist(), found.column("twin_id").to_pylist(), strict=True))
    alive = set(range(len(neardup))) - set(twins)
    assert set(twins.values()) <= alive
    assert alive == set(parent_N.tolist())
    counts = cluster_counts(cluster_size(parent_N))
    assert sum(size * count for size, count in counts.items()) == len(neardup)
    assert sum(counts.values()) == len(alive)
    assert (min(found.column("similarity").to_pylist()) >= 0.75) is cut


def test_chains_are_cut_alike_in_any_chunks(neardup, monkeypatch):
    """The survivors are the twin's, however many signatures are in memory at once, whatever the parts of the forest."""
    texts = random.Random(0).sample(neardup, len(neardup))  # clusters are not neighbours
    unit = sign(texts)
    tables = edges_of([unit], [0], num_partitions=16)
    whole = components(tables, len(texts))
    cut = whole.copy()
    split(whole, tables, SignatureRows([unit], [0]))
    monkeypatch.setattr(SignatureRows, "chunk", 64)
    monkeypatch.setattr(dedup, "_FOREST_EDGES", 10)
    split(cut, tables[::-1], SignatureRows([unit], [0]))
    assert (cut == whole).all()
    sig_NK = SignatureRows([unit], [0]).minhash(np.arange(len(texts), dtype=np.uint32))
    expected = reference_components.choose_survivors(
        len(texts),
        sorted((edge["a"], edge["b"]) for table in tables for edge in table.to_pylist()),
        lambda a, b: (sig_NK[a] == sig_NK[b]).sum() >= 84,
        SURVIVORS,
    )
    assert whole.tolist() == expected


def test_earlier_documents_do_not_know_later_ones(neardup):
    """The survivors of the first documents are the same without the others."""
    found = []
    for texts in (neardup, neardup[:333]):
        unit = sign(texts)
        tables = edges_of([unit], [0])
        parent_N = components(tables, len(texts))
        split(parent_N, tables, SignatureRows([unit], [0]))
        found.append(parent_N.tolist())
    assert found[0][:333] == found[1]


def test_origins_of_pages_and_copies():
    """A replaced page stands for nothing; the copies of its text have the smallest of the others."""
    older = edge_table(*(np.array(column, np.uint32) for column in ([0, 4], [5, 3])))
    equal = edge_table(*(np.array(column, np.uint32) for column in ([1, 2, 3], [0, 0, 0])))
    origin_N, replaced_N = origins([older], [equal], 6)
    assert origin_N.tolist() == [5, 1, 1, 1, 1, 5]
    assert replaced_N.tolist() == [True, False, False, False, True, False]
    rows = SignatureRows([sign(list("abcdef"))], [0])
    found = deletions(np.array([5, 1, 1, 1, 1, 5], np.uint32), origin_N, replaced_N, 0, signatures=rows, evidence=rows)
    assert found.select(["doc_id", "reason", "twin_id", "similarity"]).to_pylist() == [
        {"doc_id": 0, "reason": "url", "twin_id": 5, "similarity": None},
        {"doc_id": 2, "reason": "exact", "twin_id": 1, "similarity": 1.0},
        {"doc_id": 3, "reason": "exact", "twin_id": 1, "similarity": 1.0},
        {"doc_id": 4, "reason": "url", "twin_id": 1, "similarity": None},
    ]


def shingle_table(texts):
    """The shingles of one unit, a document without any among them."""
    rows = np.arange(len(texts), dtype=np.uint32)
    return pa.Table.from_batches([shingle_rows(pa.array(texts), rows, PARAMETERS.ngram)])


def test_jaccard_is_exact(neardup):
    """Every link and every deletion is at least 0.75 similar by the sets of shingles themselves: precision 1."""
    unit, rows = sign(neardup), ShingleRows([shingle_table(neardup)], [0])
    key_E, dense_E = slices([band_run(unit, PARAMETERS)], [0], 1, 0)
    edges = link_minhash(key_E, dense_E, threshold=0.75, evidence=rows)
    sets = shingle_sets(neardup)

    def jaccard(a, b):
        return len(sets[a] & sets[b]) / len(sets[a] | sets[b])

    assert edges.num_rows > 200
    for edge in edges.to_pylist():
        assert edge["similarity"] == pytest.approx(jaccard(edge["a"], edge["b"]))
        assert edge["similarity"] >= 0.75
    expected = []
    keys = band_key_rows(signature_rows(unit.column("minhash").combine_chunks())[0])
    for a, b in combinations([n for n, own in enumerate(sets) if own], 2):
        if (keys[a] == keys[b]).any() and jaccard(a, b) >= 0.75:
            expected.append((b, a))
    parent_N = components([edges], len(neardup))
    assert parent_N.tolist() == reference_components.components(len(neardup), expected)
    split(parent_N, [edges], rows)
    assert all(jaccard(n, twin) >= 0.75 for n, twin in enumerate(parent_N.tolist()) if n != twin)


def planted(words, edit, share, rng):
    """A copy of a document with one kind of edit over about `share` of its words."""
    words = words.copy()
    if edit == "words":
        for i in rng.choice(len(words), max(1, round(len(words) * share / 5)), replace=False):
            words[i] = f"edit{rng.integers(1 << 30)}"
    elif edit == "truncated":
        words = words[: round(len(words) * (1 - share))]
    elif edit == "surrounded":
        boilerplate = [f"menu{rng.integers(1 << 30)}" for _ in range(round(len(words) * share))]
        words = boilerplate[::2] + words + boilerplate[1::2]
    elif edit == "paragraphs":
        size = max(6, round(6 / share))
        paragraphs = [words[i : i + size] for i in range(0, len(words), size)]
        words = [word for i in rng.permutation(len(paragraphs)) for word in paragraphs[i]]
    return words


def test_planted_duplicates_follow_the_curve(shared_data):
    """Real prose with edits of every kind: at each step of true similarity the recall is that of 1 - (1 - s^8)^14."""
    rng = np.random.default_rng(4)
    with zstandard.open(shared_data / "text" / "python-docs" / "en.jsonl.zst", "rt", encoding="utf-8") as lines:
        prose = " ".join(json.loads(line)["text"] for line in lines).split()
    originals, copies = [], []
    for i in range(4000):
        start = rng.integers(len(prose) - 400)
        words = [*prose[start : start + 400], f"page{i}"]
        edit = ("words", "truncated", "surrounded", "paragraphs")[i % 4]
        originals.append(" ".join(words))
        copies.append(" ".join(planted(words, edit, rng.uniform(0.03, 0.6), rng)))
    loud = [copies[i].upper().replace(" ", ", ") if i % 8 < 4 else copies[i] for i in range(len(copies))]
    sig_NK, _ = signature_rows(sign(originals).column("minhash").chunk(0))
    twin_NK, _ = signature_rows(sign(loud).column("minhash").chunk(0))
    keys, twin_keys = (band_key_rows(sig) for sig in (sig_NK, twin_NK))
    found_N = (keys == twin_keys).any(axis=1)
    similarity_N = np.array(
        [len(a & b) / len(a | b) for a, b in zip(shingle_sets(originals), shingle_sets(copies), strict=True)]
    )
    expected_N = probability(similarity_N, 14, 8)
    checked = 0
    for low in np.arange(0.3, 1.0, 0.05):
        step_N = (similarity_N >= low) & (similarity_N < low + 0.05)
        if step_N.sum() < 30:
            continue
        checked += 1
        p = expected_N[step_N]
        standard_error = np.sqrt((p * (1 - p)).sum()) / len(p)
        assert abs(found_N[step_N].mean() - p.mean()) <= 3 * standard_error + 1e-9, low
    assert checked >= 10
    assert abs(((sig_NK == twin_NK).mean(axis=1) - similarity_N).mean()) < 3 * 0.5 / np.sqrt(112 * len(similarity_N))


def band_key_rows(sig_NK):
    """The band keys of each signature."""
    key_E = np.empty(len(sig_NK) * 14, np.uint64)
    band_keys(sig_NK, np.arange(len(sig_NK)), 14, 8, key_E)
    return key_E.reshape(-1, 14)


def shingle_sets(texts):
    """The sets of 64-bit shingle hashes."""
    offsets_N1, bytes_M = string_views(pa.array(texts))
    shingle_S, starts_N1 = np.empty(len(bytes_M), np.uint64), np.empty(len(texts) + 1, np.int64)
    shingles(offsets_N1, bytes_M, word_table(), 5, shingle_S, starts_N1)
    return [set(shingle_S[start:stop].tolist()) for start, stop in pairwise(starts_N1)]
