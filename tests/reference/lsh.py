"""The obvious twin of transforms.kernels.lsh: Python integers, dictionaries and lists."""

from collections import defaultdict

_MASK = (1 << 64) - 1


def band_keys(signature: list[int], bands: int, rows: int) -> list[int]:
    """Return the 64-bit key of every band."""
    keys = []
    for band in range(bands):
        key = (band + 1) * 0xFF51AFD7ED558CCD & _MASK
        for value in signature[band * rows : (band + 1) * rows]:
            key = (key ^ value) * 0xD6E8FEB86659FD93 & _MASK
            key ^= key >> 32
        key = key * 0xFF51AFD7ED558CCD & _MASK
        keys.append(key ^ key >> 32)
    return keys


def buckets(keys: list[int], dense: list[int]) -> list[tuple[int, ...]]:
    """Return the ascending members of every key that occurs more than once."""
    members = defaultdict(list)
    for key, index in zip(keys, dense, strict=True):
        members[key].append(index)
    return sorted(tuple(sorted(bucket)) for bucket in members.values() if len(bucket) > 1)


def links(
    bucket: tuple[int, ...], signatures: dict[int, list[int]], least_equal: int, window: int
) -> list[tuple[int, int]]:
    """Return (member, earlier member): alike, and not connected by the links before."""
    pieces = [{member} for member in bucket]
    found = []
    for i, member in enumerate(bucket):
        for other in [*bucket[: min(i, 1)], *reversed(bucket[max(1, i - window) : i])]:
            own, others = (next(piece for piece in pieces if end in piece) for end in (member, other))
            agreed = sum(a == b for a, b in zip(signatures[member], signatures[other], strict=True))
            if own is not others and agreed >= least_equal:
                found.append((member, other))
                pieces.remove(others)
                own |= others
    return found
