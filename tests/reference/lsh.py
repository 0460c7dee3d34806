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


def buckets(keys: list[int], dense: list[int]) -> set[tuple[int, ...]]:
    """Return the ascending members of every key that occurs more than once."""
    members = defaultdict(list)
    for key, index in zip(keys, dense, strict=True):
        members[key].append(index)
    return {tuple(sorted(bucket)) for bucket in members.values() if len(bucket) > 1}


def links(
    bucket: tuple[int, ...], signatures: dict[int, list[int]], least_equal: int, most: int
) -> set[tuple[int, int]]:
    """Return (member, head) of a bucket by leader clustering with at most `most` heads, the first never dropped."""
    first, *members = bucket
    heads: list[int] = []
    found = set()
    for member in members:
        for head in [first, *heads]:
            agreed = sum(a == b for a, b in zip(signatures[member], signatures[head], strict=True))
            if agreed >= least_equal:
                found.add((member, head))
                break
        else:
            heads = [*heads, member][1 - most :]
    return found
