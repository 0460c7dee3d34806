"""Union-find against a search, and the shape of its result."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reference import components as reference
from transforms.kernels.components import (
    SURVIVORS,
    choose_survivors,
    cluster_sizes,
    collect_clusters,
    compress,
    union_edges,
)


def kernel_components(num_documents, edges):
    """The root of every vertex."""
    parent_N = np.arange(num_documents, dtype=np.uint32)
    a_L, b_L = (np.array([edge[i] for edge in edges], np.uint32) for i in (0, 1))
    union_edges(parent_N, a_L, b_L)
    compress(parent_N)
    return parent_N.tolist()


graphs = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=50))
)


@settings(max_examples=200, deadline=None)
@given(graphs, st.randoms(use_true_random=False))
def test_kernel_equals_search(graph, random):
    """Also with the edges in another order and turned around."""
    num_documents, edges = graph
    shuffled = [random.choice([(a, b), (b, a)]) for a, b in edges]
    random.shuffle(shuffled)
    expected = reference.components(num_documents, edges)
    assert kernel_components(num_documents, edges) == expected
    assert kernel_components(num_documents, shuffled) == expected


@pytest.mark.parametrize("components", [kernel_components, reference.components])
@pytest.mark.parametrize(
    ("num_documents", "edges", "expected"),
    [
        (0, [], []),
        (3, [], [0, 1, 2]),
        (3, [(2, 2)], [0, 1, 2]),
        (5, [(4, 3), (3, 1)], [0, 1, 2, 1, 1]),
        (6, [(5, 4), (3, 2), (4, 2), (1, 0), (5, 0)], [0, 0, 0, 0, 0, 0]),
    ],
)
def test_components(components, num_documents, edges, expected):
    """The root is the smallest member, whichever edge came first."""
    assert components(num_documents, edges) == expected


@pytest.mark.parametrize("turn", [1, -1])
def test_a_long_path_is_no_deep_tree(turn):
    """A chain of a million edges in either order takes the time of a million edges."""
    num_documents = 1_000_000
    parent_N = np.arange(num_documents, dtype=np.uint32)
    a_L = np.arange(1, num_documents, dtype=np.uint32)[::turn].copy()
    union_edges(parent_N, a_L, a_L - np.uint32(1))
    compress(parent_N)
    assert not parent_N.any()


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_sizes_count_every_document_once(graph):
    """Roots hold the size of their cluster, all others 0."""
    num_documents, edges = graph
    roots = reference.components(num_documents, edges)
    size_N = np.zeros(num_documents, np.uint32)
    cluster_sizes(np.array(roots, np.uint32), size_N)
    assert size_N.tolist() == [roots.count(n) if roots[n] == n else 0 for n in range(num_documents)]


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_clusters_are_collected(graph):
    """Components of two and more, ascending, each member once."""
    num_documents, edges = graph
    roots = reference.components(num_documents, edges)
    size_N = np.zeros(num_documents, np.uint32)
    cluster_sizes(np.array(roots, np.uint32), size_N)
    offsets_C1 = np.empty(np.count_nonzero(size_N > 1) + 1, np.int64)
    member_M = np.empty(size_N[size_N > 1].sum(), np.uint32)
    collect_clusters(np.array(roots, np.uint32), size_N, offsets_C1, member_M)
    found = [member_M[start:stop].tolist() for start, stop in pairwise(offsets_C1)]
    expected = [[n for n in range(num_documents) if roots[n] == root] for root in sorted({*roots})]
    assert found == [cluster for cluster in expected if len(cluster) > 1]


def kernel_survivors(sig_MK, exact_M2, least):
    """The twins of one component."""
    twin_M = np.empty(len(sig_MK), np.uint32)
    choose_survivors(np.array([0, len(sig_MK)]), sig_MK, exact_M2, least, twin_M)
    return dict(enumerate(twin_M.tolist()))


def reference_survivors(sig_MK, exact_M2, least):
    """The same from the twin."""
    return reference.choose_survivors(
        list(range(len(sig_MK))),
        lambda a, b: (sig_MK[a] == sig_MK[b]).sum() >= least or (exact_M2[a] == exact_M2[b]).all(),
        SURVIVORS,
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200), st.integers(1, 4), st.integers(2, 9), st.integers(0, 1 << 30))
@example(num_members=400, least=3, num_values=9, seed=0)
def test_survivors_equal_twin(num_members, least, num_values, seed):
    """Also with more survivors than are compared with, and texts that are equal where signatures are not."""
    rng = np.random.default_rng(seed)
    sig_MK = rng.integers(0, num_values, (num_members, 4), np.uint32)
    exact_M2 = rng.integers(0, 40, (num_members, 2), np.uint64)
    assert kernel_survivors(sig_MK, exact_M2, least) == reference_survivors(sig_MK, exact_M2, least)


@pytest.mark.parametrize("choose", [kernel_survivors, reference_survivors])
def test_a_chain_is_cut(choose):
    """Each revision is like the one before; each that is unlike the survivors so far is one."""
    sig_MK = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], np.uint32)
    exact_M2 = np.arange(10, dtype=np.uint64).reshape(5, 2)
    assert choose(sig_MK, exact_M2, 3) == {0: 0, 1: 0, 2: 2, 3: 2, 4: 4}
    exact_M2[4] = exact_M2[0]
    assert choose(sig_MK, exact_M2, 3)[4] == 0
