"""Slow twin of transforms.kernels.pairs: BERT's create_instances_from_document over lists of sentences."""

_MASK = (1 << 64) - 1


class Draws:
    """Splitmix64, as the kernel draws."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
        return ((mixed >> 32) * bound) >> 32


def pairs_of(seed, seq_length, order, documents, doc_ids, groups):
    """Return (pairs, forced, lost); a pair is (A, B, label, document of A, document of B), segments lists of tokens.

    `documents` are lists of sentences; `order` says which are cut, and when; `groups` is a number for each document.
    """
    draws, most = Draws(seed), seq_length - 3
    members = {}
    for document in sorted(order):
        members.setdefault(groups[document], []).append(document)
    pairs, forced, lost = [], 0, 0
    for document in order:
        sentences = documents[document]
        target = 2 + draws.below(most - 1) if draws.below(1 << 20) < 0.1 * (1 << 20) else most
        chunk, i = [], 0
        while i < len(sentences):
            chunk.append(sentences[i])
            if i == len(sentences) - 1 or sum(map(len, chunk)) >= target:
                a_end = 1 if len(chunk) < 2 else 1 + draws.below(len(chunk) - 1)
                a = [token for sentence in chunk[:a_end] for token in sentence]
                b, other = [], document
                if len(chunk) == 1 or draws.below(2) == 0:
                    group = members[groups[document]]
                    start = draws.below(len(group))
                    candidates = group[start:] + group[:start]
                    strangers = [member for member in candidates if doc_ids[member] != doc_ids[document]]
                    other = strangers[0] if strangers else None
                    if other is None:
                        other = document
                if doc_ids[other] != doc_ids[document]:
                    forced += len(chunk) == 1
                    there = documents[other]
                    for sentence in there[draws.below(len(there)) :]:
                        b += sentence
                        if len(b) >= target - len(a):
                            break
                    i -= len(chunk) - a_end
                    label = 1
                else:
                    b = [token for sentence in chunk[a_end:] for token in sentence]
                    label = 0
                while len(a) + len(b) > most:
                    longer = a if len(a) > len(b) else b
                    if draws.below(2):
                        del longer[0]
                    else:
                        longer.pop()
                if b:
                    pairs.append((a, b, label, document, other))
                else:
                    lost += 1
                chunk = []
            i += 1
    return pairs, forced, lost
