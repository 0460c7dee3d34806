"""Connected components by making a star around the smallest vertex of each, for edges that are shuffled.

Large-star and small-star of Kiveris et al., "Connected Components in MapReduce and Beyond", SoCC 2014: each sees one
vertex and its neighbours only, so the edges may be spread over any number of machines, those of one vertex together.
Repeated until nothing changes, every vertex is linked to the smallest one of its component. Plain numpy: the work is
one sort. An edge is a pair: larger end << 32 | smaller end.

Shapes: E edges.
"""

import numpy as np
from numpy.typing import NDArray

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


def both_directions(pair_E: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return uint64 [2 E]: each edge as seen from either end, that end in the upper half."""
    return np.concatenate((pair_E, pair_E << _HALF | pair_E >> _HALF))


def large_star(seen_E: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the edges that link every larger neighbour of each vertex to the smallest of it and its neighbours.

    Args:
        seen_E: uint64, vertex << 32 | neighbour, all neighbours of each vertex that occurs, in any order.
    """
    vertex_E, neighbour_E, least_E = _least(seen_E)
    larger_E = neighbour_E > vertex_E
    return neighbour_E[larger_E] << _HALF | least_E[larger_E]


def small_star(pair_E: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the edges that link each vertex and its smaller neighbours to the smallest of them.

    Args:
        pair_E: uint64, all edges of each vertex that is a larger end, in any order.
    """
    vertex_E, neighbour_E, least_E = _least(pair_E)
    other_E = neighbour_E != least_E
    return np.unique(np.concatenate((vertex_E << _HALF | least_E, neighbour_E[other_E] << _HALF | least_E[other_E])))


def _least(seen_E: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return vertex, neighbour, and the smallest of the vertex and its neighbours, repetitions left out."""
    seen_E = np.unique(seen_E)
    vertex_E, neighbour_E = seen_E >> _HALF, seen_E & _LOW
    first_E = np.ones(len(seen_E), np.bool_)
    first_E[1:] = vertex_E[1:] != vertex_E[:-1]
    start = np.flatnonzero(first_E)
    least = np.minimum(vertex_E[start], neighbour_E[start])
    return vertex_E, neighbour_E, least[np.cumsum(first_E) - 1] if len(start) else vertex_E


def place(vertex_E: NDArray[np.uint64], num_places: int) -> NDArray[np.int64]:
    """Return int64 [E]: where the edges of a vertex meet, 0 to `num_places` (a power of two); neighbours are spread."""
    bits = num_places.bit_length() - 1
    return (vertex_E * _MIX >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(vertex_E), np.int64)


def checksum(pair_E: NDArray[np.uint64]) -> int:
    """Return a sum over the edges that does not depend on their order, and adds up over parts modulo 2**32."""
    mixed_E = (pair_E ^ (pair_E >> _HALF)) * _MIX
    return int((mixed_E >> _HALF).sum() % (1 << 32))
