"""Large-star and small-star against their twins, cut into any places, and where they end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import components
from tests.reference import stars as reference
from transforms.kernels.stars import both_directions, checksum, large_star, place, small_star


def packed(edges):
    return np.array([a << 32 | b for a, b in edges], np.uint64)


def unpacked(pair_E):
    return {(pair >> 32, pair & 0xFFFFFFFF) for pair in pair_E.tolist()}


def spread(star, seen_E, num_places):
    """Apply a star at each place to the edges of the vertices that belong there."""
    at_E = place(seen_E >> np.uint64(32), num_places)
    return set().union(*(unpacked(star(seen_E[at_E == p])) for p in range(num_places)))


def kernel_large_star(edges, num_places=4):
    return spread(large_star, both_directions(packed(edges)), num_places)


def kernel_small_star(edges, num_places=4):
    return spread(small_star, packed(edges), num_places)


graphs = st.sets(
    st.tuples(st.integers(0, 25), st.integers(0, 25)).filter(lambda e: e[0] != e[1]).map(lambda e: (max(e), min(e))),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(graphs, st.sampled_from([1, 4, 32]))
def test_stars_equal_twins(edges, num_places):
    """Each edge that the twin makes, however the vertices are spread."""
    assert kernel_large_star(edges, num_places) == reference.large_star(edges)
    assert kernel_small_star(edges, num_places) == reference.small_star(edges)


@pytest.mark.parametrize(
    ("large", "small"), [(kernel_large_star, kernel_small_star), (reference.large_star, reference.small_star)]
)
@pytest.mark.parametrize(
    "edges",
    [
        set(),
        {(n + 1, n) for n in range(25)},
        {(n + 13, n) for n in range(12)} | {(n + 14, n) for n in range(12)},
        {(25, n) for n in range(25)},
    ],
)
def test_stars_end_in_components(large, small, edges):
    """Repeated until nothing changes, every vertex hangs on the smallest of its component; a path takes few rounds."""
    rounds, now, before = 0, edges, None
    while now != before:
        before, now, rounds = now, small(large(now)), rounds + 1
    roots = components.components(26, sorted(edges))
    assert now == {(n, root) for n, root in enumerate(roots) if n != root}
    assert rounds <= 7


@settings(max_examples=100, deadline=None)
@given(graphs, st.integers(0, 40))
def test_checksums_add_up(edges, cut):
    """Parts add up to the whole in any order, and another edge changes the sum."""
    pair_E = packed(sorted(edges))
    parts = checksum(pair_E[cut:][::-1]) + checksum(pair_E[:cut])
    assert parts % (1 << 32) == checksum(pair_E)
    assert checksum(np.append(pair_E, np.uint64(99 << 32 | 98))) != checksum(pair_E)
