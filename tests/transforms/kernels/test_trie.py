"""The double-array trie against dictionaries."""

from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.trie import CONTINUE, START, trie_of


@settings(max_examples=100, deadline=None)
@given(*[st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5).map(tuple), max_size=30, unique=True)] * 3)
def test_trie_finds_its_entries_only(start, going_on, others):
    """Every entry leads from its root to its id; anything else leads nowhere or to a slot without id."""
    words = [dict(zip(half, range(len(half)), strict=True)) for half in (start, going_on)]
    trie_S3 = trie_of(*([(list(word), number) for word, number in half.items()] for half in words), num_symbols=12)
    for root, known in zip((START, CONTINUE), words, strict=True):
        for word in [*start, *going_on, *others, *((0, *word) for word in [*start, *going_on])]:
            slot = root
            for symbol in word:
                child = trie_S3[slot, 0] + symbol
                slot = child if slot >= 0 and trie_S3[child, 1] == slot else -1
                if slot < 0:
                    break
            found = trie_S3[slot, 2] if slot >= 0 else -1
            assert found == known.get(word, -1)
