"""Union-find against a search, and the shape of its result."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reference import components as reference
from transforms.evidence import NOTHING
from transforms.kernels.components import (
    SURVIVORS,
    choose_origins,
    choose_survivors,
    cluster_sizes,
    collect_clusters,
    compress,
    span_edges,
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


def kernel_survivors(sig_MK, edges, least):
    """The twins of some components; `least` values must be equal."""
    twin_M = np.empty(len(sig_MK), np.uint32)
    a_L, b_L = (np.array([edge[i] for edge in sorted(edges)], np.int64) for i in (0, 1))
    compared = NOTHING._replace(sig_MK=sig_MK)
    choose_survivors(a_L, b_L, *compared, (least - 0.5) / sig_MK.shape[1], twin_M)
    return twin_M.tolist()


def reference_survivors(sig_MK, edges, least):
    """The same from the twin."""
    return reference.choose_survivors(
        len(sig_MK), sorted(edges), lambda a, b: (sig_MK[a] == sig_MK[b]).sum() >= least, SURVIVORS
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(2, 9), st.floats(0, 2), st.integers(0, 1 << 30))
@example(num_members=300, least=4, num_values=9, degree=1.5, seed=0)
def test_survivors_equal_twin(num_members, least, num_values, degree, seed):
    """Several components that grow together; also with more survivors than are compared with."""
    rng = np.random.default_rng(seed)
    sig_MK = rng.integers(0, num_values, (num_members, 4), np.uint32)
    drawn = rng.integers(0, num_members, (round(degree * num_members), 2))
    edges = [(int(max(pair)), int(min(pair))) for pair in drawn if pair[0] != pair[1]]
    found = kernel_survivors(sig_MK, edges, least)
    assert found == reference_survivors(sig_MK, edges, least)
    for some in (num_members // 3, num_members - 1):  # later members never change what happens to earlier ones
        earlier = [edge for edge in edges if edge[0] < some]
        assert kernel_survivors(sig_MK[:some], earlier, least) == found[:some]


@pytest.mark.parametrize("choose", [kernel_survivors, reference_survivors])
def test_a_chain_is_cut(choose):
    """Each revision is like the one before; each that is unlike the survivors so far is one."""
    sig_MK = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], np.uint32)
    edges = [(m + 1, m) for m in range(4)]
    assert choose(sig_MK, edges, 3) == [0, 0, 2, 2, 4]


@pytest.mark.parametrize("choose", [kernel_survivors, reference_survivors])
def test_a_bridge_does_not_reach_back(choose):
    """Two documents that only a later one connects both survive, and the later one is the copy of the first."""
    sig_MK = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]], np.uint32)
    assert choose(sig_MK, [(2, 0), (2, 1)], 3) == [0, 1, 0]


@pytest.mark.parametrize("choose", [kernel_survivors, reference_survivors])
def test_the_oldest_survivor_but_one_is_forgotten(choose):
    """One more survivor than are compared with: the second one no longer has copies, the third one still has."""
    values = [*range(SURVIVORS + 1), 2, 1]
    sig_MK = np.repeat(np.array(values, np.uint32)[:, None], 4, axis=1)
    found = choose(sig_MK, [(m, 0) for m in range(1, len(values))], 4)
    assert found == [*range(SURVIVORS + 1), 2, SURVIVORS + 2]


@settings(max_examples=100, deadline=None)
@given(graphs, st.randoms(use_true_random=False))
def test_spanning_edges_equal_twin(graph, random):
    """The kept edges connect the documents up to any one as all edges do, in whatever parts they come."""
    num_documents, drawn = graph
    edges = [(max(edge), min(edge)) for edge in drawn if edge[0] != edge[1]]
    expected = reference.span_edges(num_documents, edges)
    for n in range(num_documents):
        up_to = [[edge for edge in some if edge[0] <= n] for some in (edges, expected)]
        assert reference.components(n + 1, up_to[0]) == reference.components(n + 1, up_to[1])
    parent_N, kept = np.empty(num_documents, np.uint32), np.empty(0, np.uint64)
    random.shuffle(edges)
    middle = random.randint(0, len(edges))
    for part in (edges[:middle], edges[middle:]):
        pair_L = np.sort(np.concatenate([kept, np.array([a << 32 | b for a, b in part], np.uint64)]))
        kept = pair_L[: span_edges(pair_L, parent_N)]
    assert [(pair >> 32, pair & 0xFFFFFFFF) for pair in kept.tolist()] == expected
    compress(parent_N)
    assert parent_N.tolist() == reference.components(num_documents, edges)


@settings(max_examples=100, deadline=None)
@given(graphs, st.integers(0, (1 << 40) - 1))
def test_origins_equal_twin(graph, drawn):
    """The smallest of a component, excluded ones left out."""
    num_documents, edges = graph
    roots = reference.components(num_documents, edges)
    excluded = [bool(drawn >> n & 1) for n in range(num_documents)]
    parent_N = np.array(roots, np.uint32)
    choose_origins(parent_N, np.array(excluded), np.empty(num_documents, np.uint32))
    assert parent_N.tolist() == reference.choose_origins(roots, excluded)
