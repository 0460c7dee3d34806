"""Slow twin of transforms.kernels.merges: the pairs and their words in dictionaries, the next one by looking at all."""

from collections import Counter
from itertools import pairwise


def learn_merges(words, tokens, *, vocab_size, prefix="", min_count=2):
    """Merges as (left, right, merged) from [(symbols, count)], where `tokens` names the symbols."""
    names = {name: number for number, name in enumerate(tokens)}
    words = [(list(symbols), count) for symbols, count in words]
    counts, made, queue, merges = Counter(), {}, [], []
    for w, (symbols, count) in enumerate(words):
        for pair in pairwise(symbols):
            counts[pair] += count
            made.setdefault(pair, set()).add(w)
    while True:
        queue += [[counts[pair], pair, len(merges), places] for pair, places in made.items() if counts[pair] > 0]
        if len(names) >= vocab_size or not queue:
            return merges
        top = min(queue, key=lambda entry: (-entry[0], entry[1], entry[2]))
        while top[0] != counts[top[1]]:  # counts change while a pair waits, and are looked at when it comes first
            top[0] = counts[top[1]]
            top = min(queue, key=lambda entry: (-entry[0], entry[1], entry[2]))
        queue.remove(top)
        count, (left, right), _, places = top
        if count < min_count:
            return merges
        texts = list(names)
        merged = names.setdefault(texts[left] + texts[right].removeprefix(prefix), len(names))
        merges.append((left, right, merged))
        made = {}
        for w in places:
            symbols, count = words[w]
            i = 0
            while i < len(symbols):
                if symbols[i : i + 2] == [left, right]:
                    before, after = symbols[:i], symbols[i + 2 :]
                    changed = [((before[-1], left), (before[-1], merged))] if before else []
                    changed += [((right, after[0]), (merged, after[0]))] if after else []
                    for old, new in changed:
                        counts[old] -= count
                        counts[new] += count
                        made.setdefault(new, set()).add(w)
                    symbols[i : i + 2] = [merged]
                i += 1
