"""Band keys, buckets and links against their twins and against datasketch.MinHashLSH."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import components
from tests.reference import lsh as reference
from transforms.evidence import NOTHING
from transforms.kernels.lsh import WINDOW, band_keys, collect_buckets, group_equal, link_buckets


def kernel_band_keys(signature, bands, rows):
    """The keys of one signature."""
    key_E = np.empty(bands, np.uint64)
    band_keys(np.array([[0] * len(signature), signature], np.uint32), np.array([1]), bands, rows, key_E)
    return key_E.tolist()


def kernel_buckets(keys, dense):
    """The buckets of one partition, as lists of dense indices."""
    key_E, dense_E = np.array(keys, np.uint64), np.array(dense, np.uint32)
    first_E, count_E = np.empty(len(keys), np.uint32), np.zeros(len(keys), np.uint32)
    slot_H = np.zeros(max(2, 1 << (2 * len(keys) - 1).bit_length()), np.uint32)
    num_buckets, num_members = group_equal(key_E, slot_H, first_E, count_E)
    offsets_B1, entry_M = np.empty(num_buckets + 1, np.int64), np.empty(num_members, np.uint32)
    ascending = collect_buckets(dense_E, first_E, count_E, offsets_B1, entry_M)
    assert offsets_B1[-1] == num_members
    found = [tuple(dense_E[entry_M[start:stop]].tolist()) for start, stop in pairwise(offsets_B1)]
    assert ascending == all(list(bucket) == sorted(bucket) for bucket in found)
    return sorted(tuple(sorted(bucket)) for bucket in found)


def kernel_links(bucket, signatures, least, window):
    """The links of one bucket, and that the agreement stated is the true one."""
    assert window == WINDOW
    sig_MK = np.array([signatures[member] for member in bucket], np.uint32)
    num_values = sig_MK.shape[1]
    root_M, member_L, earlier_L = (np.empty(len(bucket), np.uint32) for _ in range(3))
    similarity_L = np.empty(len(bucket), np.float32)
    compared = NOTHING._replace(sig_MK=sig_MK)
    num_links = link_buckets(
        np.array([0, len(bucket)]), *compared, (least - 0.5) / num_values, root_M, member_L, earlier_L, similarity_L
    )
    links = list(zip(member_L[:num_links].tolist(), earlier_L[:num_links].tolist(), strict=True))
    agreed = [(sig_MK[a] == sig_MK[b]).sum() / num_values for a, b in links]
    assert similarity_L[:num_links].tolist() == pytest.approx(agreed)
    return [(bucket[a], bucket[b]) for a, b in links]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, (1 << 32) - 1), min_size=12, max_size=12),
    st.sampled_from([(1, 12), (12, 1), (3, 4), (2, 5)]),
)
def test_band_keys_equal_twin(signature, shape):
    """Also where bands times rows leaves permutations over."""
    assert kernel_band_keys(signature, *shape) == reference.band_keys(signature, *shape)


def test_bands_are_told_apart():
    """The same values in another band, or in another order, are another key."""
    keys = kernel_band_keys([1, 2] * 6, 6, 2) + kernel_band_keys([2, 1] * 6, 6, 2)
    assert len(set(keys)) == 12


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=60), st.booleans(), st.randoms(use_true_random=False))
def test_buckets_equal_twin(keys, spread, random):
    """Every bucket, in whatever order the runs came; the kernel says whether its members ascend."""
    keys = [key * 0x9E3779B97F4A7C15 % (1 << 64) if spread else key for key in keys]
    dense = list(range(len(keys)))
    expected = reference.buckets(keys, dense)
    assert kernel_buckets(keys, dense) == expected
    random.shuffle(dense)
    assert kernel_buckets(keys, dense) == reference.buckets(keys, dense)


@pytest.mark.parametrize("link", [kernel_links, reference.links])
def test_links_skip_an_unlike_smallest(link):
    """Alike members find each other although the smallest of their bucket is unlike both, and through a third."""
    signatures = {3: [0, 0, 0, 0], 5: [0, 1, 1, 1], 8: [0, 1, 1, 2], 9: [0, 0, 0, 3], 11: [0, 0, 1, 1]}
    assert link((3, 5, 8, 9), signatures, 3, WINDOW) == [(8, 5), (9, 3)]
    assert link((3, 5, 11), signatures, 2, WINDOW) == [(11, 3), (11, 5)]
    assert link((3, 5, 8, 9), signatures, 0, WINDOW) == [(5, 3), (8, 3), (9, 3)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=2, max_size=80), st.integers(0, 6))
def test_links_equal_twin(rows, least):
    """Also with more members than the window."""
    bucket = tuple(range(0, 3 * len(rows), 3))
    signatures = dict(zip(bucket, rows, strict=True))
    assert kernel_links(bucket, signatures, least, WINDOW) == reference.links(bucket, signatures, least, WINDOW)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=2, max_size=WINDOW + 1), st.integers(1, 6)
)
def test_links_join_what_all_pairs_join(rows, least):
    """In a bucket no larger than the window no pair of alike documents is lost, and n - 1 links are enough."""
    bucket = tuple(range(len(rows)))
    alike = [(a, b) for a, b in combinations(bucket, 2) if sum(map(int.__eq__, rows[a], rows[b])) >= least]
    found = kernel_links(bucket, dict(enumerate(rows)), least, WINDOW)
    expected = components.components(len(rows), alike)
    assert components.components(len(rows), found) == expected
    assert len(found) == len(rows) - len(set(expected))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=12, max_size=12), max_size=20),
    st.sampled_from([(3, 4), (6, 2), (2, 5)]),
)
def test_candidates_equal_datasketch(rows, shape):
    """Two documents share a bucket exactly where MinHashLSH returns one for the other."""
    keys = [key for row in rows for key in kernel_band_keys(row, *shape)]
    dense = [n for n in range(len(rows)) for _ in range(shape[0])]
    ours = {pair for bucket in kernel_buckets(keys, dense) for pair in combinations(bucket, 2)}
    lsh = MinHashLSH(num_perm=12, params=shape)
    sketches = [MinHash(hashvalues=row, scheme="affine32") for row in rows]
    for n, sketch in enumerate(sketches):
        lsh.insert(n, sketch)
    theirs = {(a, b) for b, sketch in enumerate(sketches) for a in lsh.query(sketch) if a < b}
    assert ours == theirs
