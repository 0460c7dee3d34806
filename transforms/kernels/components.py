"""Connected components in one dense array, the root always the smallest index of its component; clusters cut from them.

`parent_N` uint32 is the whole state: 4 bytes a document. No rank and no size are kept, because the root is not free to
choose; path halving alone keeps the trees shallow (Tarjan and van Leeuwen, "Worst-case analysis of set union
algorithms", 1984). The result depends on the set of edges only, not on their order.

Shapes: N documents, L edges, C components of two or more, M members of those, K permutations.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel

SURVIVORS = 64  # survivors of one component that a further member is compared with


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


@kernel
def collect_clusters(
    parent_N: NDArray[np.uint32],
    size_N: NDArray[np.uint32],
    offsets_C1: NDArray[np.int64],
    member_M: NDArray[np.uint32],
) -> None:
    """Write the members of every component of two or more side by side, in ascending order, so the root first.

    Args:
        parent_N: uint32, compressed.
        size_N: uint32, from `cluster_sizes`; overwritten.
        offsets_C1: int64, output: component c is `member_M[offsets_C1[c]:offsets_C1[c + 1]]`.
        member_M: uint32, output.
    """
    component = 0
    offsets_C1[0] = 0
    for n in range(len(parent_N)):
        if size_N[n] > 1:
            offsets_C1[component + 1] = offsets_C1[component] + size_N[n]
            size_N[n] = np.uint32(offsets_C1[component])  # from here on: where the next member goes
            component += 1
        elif parent_N[n] == n:
            continue
        root = parent_N[n]
        member_M[size_N[root]] = np.uint32(n)
        size_N[root] += np.uint32(1)


@kernel
def choose_survivors(
    offsets_C1: NDArray[np.int64],
    sig_MK: NDArray[np.uint32],
    exact_M2: NDArray[np.uint64],
    least_equal: int,
    twin_M: NDArray[np.uint32],
) -> None:
    """Give every member of a component the first survivor that it is like, or make it a survivor itself.

    Args:
        offsets_C1: int64, component c is the rows from `offsets_C1[c]` to `offsets_C1[c + 1]`; its first row survives.
        sig_MK: uint32, signatures of the members in the order of the components; K may be 0.
        exact_M2: uint64, their content hashes: equal ones are alike whatever the signatures.
        least_equal: how many of the K values must be equal.
        twin_M: uint32, output: the row of the survivor, the member's own row if it survives.

    A member is compared with the first survivor and the last SURVIVORS - 1 others, oldest first, so the cost is linear
    even where a chain of a million documents leads from one text to another.
    """
    survivors = np.empty(SURVIVORS, np.int64)
    for c in range(len(offsets_C1) - 1):
        num_survivors = 0
        for m in range(offsets_C1[c], offsets_C1[c + 1]):
            twin = m
            for i in range(num_survivors):
                survivor = survivors[i]
                equal = 0
                for k in range(sig_MK.shape[1]):
                    equal += sig_MK[m, k] == sig_MK[survivor, k]
                same = exact_M2[m, 0] == exact_M2[survivor, 0] and exact_M2[m, 1] == exact_M2[survivor, 1]
                if same or equal >= least_equal:
                    twin = survivor
                    break
            twin_M[m] = np.uint32(twin)
            if twin == m:
                if num_survivors == SURVIVORS:
                    num_survivors -= 1
                    for i in range(1, num_survivors):
                        survivors[i] = survivors[i + 1]
                survivors[num_survivors] = m
                num_survivors += 1
