"""Slow twin of transforms.kernels.word_memory: the key of a word as one number."""


def key(word):
    """The bytes, the first one lowest, and their number in the 32nd byte."""
    return int.from_bytes(word, "little") | len(word) << 248
