"""Union-find against a search, and the shape of its result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import components as reference
from transforms.kernels.components import cluster_sizes, compress, union_edges


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
