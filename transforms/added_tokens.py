"""Added tokens of a tokenizer: those that the kernels match in a text before its model. No Beam."""

from typing import Any

import numpy as np
from tokenizers import Tokenizer

from transforms.kernels.added_tokens import AddedTokens
from transforms.kernels.trie import byte_trie


def added_tokens(tokenizer: Tokenizer, added: list[dict[str, Any]]) -> AddedTokens | None:
    """Return the tables of the tokens (from the tokenizer's JSON), or None if there are some of another kind."""
    plain = [token for token in added if not token["special"]]
    if any(token["single_word"] or token["lstrip"] or token["rstrip"] for token in plain):
        return None
    normalizer = tokenizer.normalizer
    if normalizer is not None and not all(token["normalized"] for token in plain):
        return None  # these are matched before normalisation
    if len({token["normalized"] for token in plain}) > 1:
        return None  # matched in two rounds
    texts: dict[bytes, int] = {}
    for token in added:
        if plain and token["normalized"] == plain[0]["normalized"]:
            content = normalizer.normalize_str(token["content"]) if normalizer is not None else token["content"]
            texts[content.encode()] = -1 if token["special"] else token["id"]
    return AddedTokens(
        byte_trie([(text, a) for a, text in enumerate(texts)]),
        np.array([len(text) for text in texts], np.int32),
        np.array(list(texts.values()), np.int32),
    )
