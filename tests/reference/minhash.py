"""The obvious twin of transforms.kernels.minhash: Python integers and datasketch."""

from datasketch import MinHash

from tests.reference.words import word_hash, words


def shingles(text: bytes, ngram: int) -> list[int]:
    """Return the 64-bit hash of every `ngram` consecutive words."""
    hashes = [word_hash(word) for word in words(text)]
    found = []
    for start in range(len(hashes) - ngram + 1):
        value = 0
        for word in hashes[start : start + ngram]:
            value = (value * 0xD1342543DE82EF95 + word) % (1 << 64)
        found.append(value)
    return found


def minhash(text: bytes, ngram: int, num_perm: int, seed: int) -> list[int] | None:
    """Return the signature that datasketch gives the 32-bit shingle hashes, None where there is no shingle."""
    hashes = [value >> 32 for value in shingles(text, ngram)]
    if not hashes:
        return None
    sketch = MinHash(num_perm=num_perm, seed=seed, scheme="affine32", hashfunc=int)
    sketch.update_batch(hashes)
    return sketch.hashvalues.tolist()


def jaccard(left: list[int], right: list[int]) -> float:
    """Return the Jaccard similarity of two lists as sets."""
    return len({*left} & {*right}) / len({*left} | {*right})
