"""Slow twin of transforms.word_counts: the library normalises and cuts each text."""

from collections import Counter

from transforms.word_counts import steps_of


def word_counts(texts, copies, model, *, lowercase):
    """The words of texts that are read so many times each, with their counts."""
    normalizer, pre_tokenizer = steps_of(model, lowercase=lowercase)
    counts = Counter()
    for text, times in zip(texts, copies, strict=True):
        normal = text if normalizer is None else normalizer.normalize_str(text)
        pieces = pre_tokenizer.pre_tokenize_str(normal)
        words = {
            "wordpiece": lambda pieces=pieces: [word for word, _ in pieces],
            "bpe": lambda pieces=pieces, normal=normal: [normal[start:stop] for _, (start, stop) in pieces],
            "unigram": lambda normal=normal: normal.split(),
        }[model]()
        for word in words:
            counts[word] += times
    return +counts
