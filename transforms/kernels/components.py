"""Connected components in one dense array, the root always the smallest index of its component.

`parent_N` uint32 is the whole state: 4 bytes a document. No rank and no size are kept, because the root is not free to
choose; path halving alone keeps the trees shallow (Tarjan and van Leeuwen, "Worst-case analysis of set union
algorithms", 1984). The result depends on the set of edges only, not on their order.

Shapes: N documents, L edges.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel


@kernel
def union_edges(parent_N: NDArray[np.uint32], a_L: NDArray[np.uint32], b_L: NDArray[np.uint32]) -> None:
    """Join the components of the ends of every edge.

    Args:
        parent_N: uint32, no entry larger than its index; a fresh one is `arange(N)`. Changed in place.
        a_L: uint32, one end of each edge.
        b_L: uint32, the other end.
    """
    for edge in range(len(a_L)):
        a, b = a_L[edge], b_L[edge]
        while parent_N[a] != a:
            parent_N[a] = parent_N[parent_N[a]]
            a = parent_N[a]
        while parent_N[b] != b:
            parent_N[b] = parent_N[parent_N[b]]
            b = parent_N[b]
        if a < b:
            parent_N[b] = a
        else:
            parent_N[a] = b


@kernel
def compress(parent_N: NDArray[np.uint32]) -> None:
    """Point every entry of `parent_N` (uint32, in place) at its root: one pass, as no parent is above its index."""
    for n in range(len(parent_N)):
        parent_N[n] = parent_N[parent_N[n]]


@kernel
def cluster_sizes(parent_N: NDArray[np.uint32], size_N: NDArray[np.uint32]) -> None:
    """Count the members of every component.

    Args:
        parent_N: uint32, compressed.
        size_N: uint32, zeros, output: the number of members at a root, 0 elsewhere.
    """
    for n in range(len(parent_N)):
        size_N[parent_N[n]] += np.uint32(1)
