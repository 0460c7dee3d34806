"""The obvious twin of transforms.kernels.components: search from every vertex."""


def components(num_documents: int, edges: list[tuple[int, int]]) -> list[int]:
    """Return the smallest member of the component of every vertex."""
    neighbours = {n: {n} for n in range(num_documents)}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    root = [-1] * num_documents
    for n in range(num_documents):
        found = {n} if root[n] < 0 else set()
        while found:
            reached = found.pop()
            root[reached] = n
            found |= {m for m in neighbours[reached] if root[m] < 0}
    return root


def choose_survivors(num_members: int, edges: list[tuple[int, int]], alike, most: int) -> list[int]:
    """Return for each member the first survivor that it is like, in the component of the members up to it."""
    clusters: list[tuple[set[int], list[int]]] = []
    twins = []
    for member in range(num_members):
        members, survivors = {member}, []
        for _, other in [edge for edge in edges if edge[0] == member]:
            if other in members:
                continue
            joined = next(cluster for cluster in clusters if other in cluster[0])
            clusters.remove(joined)
            members, survivors = members | joined[0], trimmed(sorted(survivors + joined[1]), most)
        twins.append(next((survivor for survivor in survivors if alike(member, survivor)), member))
        clusters.append((members, trimmed(survivors + [member] * (twins[-1] == member), most)))
    return twins


def trimmed(survivors: list[int], most: int) -> list[int]:
    """Return the first survivor and the last `most - 1` others."""
    return [*survivors[:1], *survivors[1:][1 - most :]]


def span_edges(num_documents: int, edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the edges, by larger and then by smaller end, that join two components of those before them."""
    kept: list[tuple[int, int]] = []
    for a, b in sorted(edges):
        root = components(num_documents, kept)
        if root[a] != root[b]:
            kept.append((a, b))
    return kept


def choose_origins(roots: list[int], excluded: list[bool]) -> list[int]:
    """Return the smallest member of its component that is not excluded; excluded ones keep to themselves."""
    return [
        n if excluded[n] else next(m for m in range(n + 1) if roots[m] == roots[n] and not excluded[m])
        for n in range(len(roots))
    ]
