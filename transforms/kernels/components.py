"""Connected components in one dense array, the root always the smallest index of its component; clusters cut from them.

`parent_N` uint32 is the whole state: 4 bytes a document. No rank and no size are kept, because the root is not free to
choose; path halving alone keeps the trees shallow (Tarjan and van Leeuwen, "Worst-case analysis of set union
algorithms", 1984). The result depends on the set of edges only, not on their order.

Shapes: N documents, L edges, C components of two or more, M members of those, K permutations.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import kernel, part
from transforms.kernels.likeness import likeness

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
def span_edges(pair_L: NDArray[np.uint64], parent_N: NDArray[np.uint32]) -> int:
    """Keep the edges that connect the documents up to every index: a minimum spanning forest (Kruskal, 1956).

    Args:
        pair_L: uint64, ascending; larger end << 32 | smaller end. Changed: the kept ones stand at its beginning.
        parent_N: uint32, output, not compressed: the components of the edges.

    Returns:
        How many edges are kept, at most N - 1.

    The weight of an edge is its larger end, so for every n the kept edges among documents up to n connect exactly what
    all edges among them connect. The forest of two forests is the forest of all their edges.
    """
    for n in range(len(parent_N)):
        parent_N[n] = np.uint32(n)
    kept = 0
    for edge in range(len(pair_L)):
        pair = pair_L[edge]
        a, b = _root(parent_N, int(pair >> np.uint64(32))), _root(parent_N, int(pair & np.uint64(0xFFFFFFFF)))
        if a != b:
            parent_N[max(a, b)] = np.uint32(min(a, b))
            pair_L[kept] = pair
            kept += 1
    return kept


@kernel
def choose_origins(parent_N: NDArray[np.uint32], excluded_N: NDArray[np.bool_], first_N: NDArray[np.uint32]) -> None:
    """Point every document of a component at the smallest one that is not excluded.

    Args:
        parent_N: uint32, compressed; changed in place. Excluded documents point at themselves.
        excluded_N: bool.
        first_N: uint32, scratch.
    """
    none = np.uint32(0xFFFFFFFF)
    first_N[:] = none
    for n in range(len(parent_N)):
        root = parent_N[n]
        if excluded_N[n]:
            parent_N[n] = np.uint32(n)
            continue
        if first_N[root] == none:
            first_N[root] = np.uint32(n)
        parent_N[n] = first_N[root]


@kernel
def choose_survivors(
    a_L: NDArray[np.int64],
    b_L: NDArray[np.int64],
    sig_MK: NDArray[np.uint32],
    starts_M1: NDArray[np.int64],
    shingle_S: NDArray[np.uint64],
    least: float,
    twin_M: NDArray[np.uint32],
) -> None:
    """Give every member of a component the first survivor that it is like, or make it a survivor itself.

    Args:
        a_L: int64, larger row of every edge, ascending.
        b_L: int64, smaller row of every edge.
        sig_MK: uint32, signatures of the members of some components, ascending within a component; K may be 0.
        starts_M1: int64, where the shingles of a member start; empty = the signatures speak (see `likeness`).
        shingle_S: uint64, distinct shingles of each member, ascending.
        least: the least similarity of a copy.
        twin_M: uint32, output: the row of the survivor, the member's own row if it survives.

    Members come in ascending order, and each sees the survivors of the component that it and the members before it
    make: later documents never change what happens to earlier ones. It is compared with the first survivor and the last
    SURVIVORS - 1 others, oldest first, so the cost is linear even where a chain of a million documents leads from one
    text to another.
    """
    num_members = len(twin_M)
    none = np.uint32(0xFFFFFFFF)
    root_M = np.empty(num_members, np.uint32)
    head_M = np.full(num_members, none, np.uint32)  # of a root: its survivors, a list in ascending order
    next_M = np.full(num_members, none, np.uint32)
    count_M = np.zeros(num_members, np.uint32)
    edge = 0
    for m in range(num_members):
        root_M[m] = np.uint32(m)
        root = m
        while edge < len(a_L) and a_L[edge] == m:
            other = _root(root_M, int(b_L[edge]))
            edge += 1
            if other != root:
                keep, drop = min(root, other), max(root, other)
                root_M[drop] = np.uint32(keep)
                _merge(head_M, next_M, count_M, keep, drop)
                root = keep
        twin = m
        survivor, last = head_M[root], none
        while survivor != none:
            if likeness(m, int(survivor), sig_MK, starts_M1, shingle_S) >= least:
                twin = int(survivor)
                break
            last = survivor
            survivor = next_M[survivor]
        twin_M[m] = np.uint32(twin)
        if twin == m:
            if last == none:
                head_M[root] = np.uint32(m)
            else:
                next_M[last] = np.uint32(m)
            count_M[root] += np.uint32(1)
            _trim(head_M, next_M, count_M, root)


@part
def _merge(
    head_M: NDArray[np.uint32], next_M: NDArray[np.uint32], count_M: NDArray[np.uint32], keep: int, drop: int
) -> None:
    """Merge the ascending survivors of the root `drop` into those of `keep`."""
    none = np.uint32(0xFFFFFFFF)
    left, right, last = head_M[keep], head_M[drop], none
    while left != none or right != none:
        if right == none or (left != none and left < right):
            taken = left
            left = next_M[left]
        else:
            taken = right
            right = next_M[right]
        if last == none:
            head_M[keep] = taken
        else:
            next_M[last] = taken
        last = taken
    count_M[keep] += count_M[drop]
    _trim(head_M, next_M, count_M, keep)


@part
def _trim(head_M: NDArray[np.uint32], next_M: NDArray[np.uint32], count_M: NDArray[np.uint32], root: int) -> None:
    """Forget the survivors after the first one until SURVIVORS are left."""
    while count_M[root] > SURVIVORS:
        head = head_M[root]
        next_M[head] = next_M[next_M[head]]
        count_M[root] -= np.uint32(1)


@part
def _root(parent_N: NDArray[np.uint32], member: int) -> int:
    """Return the root of `member`, halving the path."""
    while parent_N[member] != member:
        parent_N[member] = parent_N[parent_N[member]]
        member = int(parent_N[member])
    return member
