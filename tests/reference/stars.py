"""The obvious twin of transforms.kernels.stars: one vertex after the other."""


def neighbours(edges: set[tuple[int, int]]) -> dict[int, set[int]]:
    """Return the neighbours of every vertex."""
    found: dict[int, set[int]] = {}
    for a, b in edges:
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return found


def large_star(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Link every larger neighbour of each vertex to the smallest of the vertex and its neighbours."""
    return {(v, min(near | {u})) for u, near in neighbours(edges).items() for v in near if v > u}


def small_star(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Link each vertex and its smaller neighbours to the smallest of them."""
    found = set()
    for u, near in neighbours(edges).items():
        smaller = {v for v in near if v < u} | {u}
        found |= {(v, min(smaller)) for v in smaller if v != min(smaller)}
    return found
