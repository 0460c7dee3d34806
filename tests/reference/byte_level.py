"""Slow twin of transforms.byte_level: normaliser and pre-tokeniser of the tokenizer, merges one by one on strings."""

import json
from itertools import pairwise


def cut_at(tokens, text):
    """Parts of `text` between added tokens, leftmost and longest first, and the id of the token behind each part."""
    start = i = 0
    while i < len(text):
        found = max((token for token in tokens if text.startswith(token, i)), key=len, default="")
        if found and tokens[found] is not None:
            yield text[start:i], tokens[found]
            start = i + len(found)
        i += len(found) or 1
    yield text[start:], None


def encode(tokenizer, text):
    """The ids of one text, special tokens read as text; every added token that is not special is normalised."""
    description = json.loads(tokenizer.to_str())
    vocab, merges = description["model"]["vocab"], description["model"]["merges"]
    rank_of = {tuple(pair): rank for rank, pair in enumerate(merges)}
    normalised = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    added = {
        normalised(token["content"]): None if token["special"] else token["id"]
        for token in description["added_tokens"]
        if token["normalized"]
    }
    ids = []
    for part, token_id in cut_at(added, normalised(text)):
        for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(part) if part else ():
            parts = [piece] if description["model"]["ignore_merges"] and piece in vocab else list(piece)
            while True:
                ranks = [rank_of.get(pair, len(merges)) for pair in pairwise(parts)]
                if min(ranks, default=len(merges)) == len(merges):
                    break
                i = ranks.index(min(ranks))
                parts[i : i + 2] = [parts[i] + parts[i + 1]]
            ids += [vocab[name] for name in parts]
        if token_id is not None:
            ids.append(token_id)
    return ids
