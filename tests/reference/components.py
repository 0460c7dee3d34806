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


def choose_survivors(cluster: list[int], alike, most: int) -> dict[int, int]:
    """Return for each member of an ascending cluster the first survivor it is like, of the first and the last ones."""
    twins = {}
    survivors: list[int] = []
    for member in cluster:
        seen = [*survivors[:1], *survivors[1:][1 - most :]]
        twins[member] = next((survivor for survivor in seen if alike(member, survivor)), member)
        survivors += [member] if twins[member] == member else []
    return twins
