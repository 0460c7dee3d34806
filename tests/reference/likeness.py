"""The obvious twin of transforms.kernels.likeness: sets, and a count of equal values."""


def likeness(left, right) -> float:
    """Return the Jaccard similarity of two sets, or the share of equal values of two lists; nothing known is 1."""
    if isinstance(left, set):
        return len(left & right) / max(len(left | right), 1)
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left) if left else 1.0


def distinct_shingles(shingles: list[int]) -> list[int]:
    """Return them once each, ascending."""
    return sorted(set(shingles))
