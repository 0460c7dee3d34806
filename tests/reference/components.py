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
