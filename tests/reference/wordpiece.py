"""Slow twin of transforms.wordpiece: normaliser and pre-tokeniser of the tokenizer, longest match on strings."""

import json


def encode(tokenizer, text):
    """The ids of one text, special tokens read as text."""
    model = json.loads(tokenizer.to_str())["model"]
    vocab, prefix = model["vocab"], model["continuing_subword_prefix"]
    ids = []
    for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)):
        pieces = []
        start = 0
        while start < len(word) <= model["max_input_chars_per_word"]:
            names = [(prefix if start else "") + word[start:stop] for stop in range(len(word), start, -1)]
            name = next((name for name in names if name in vocab), None)
            if name is None:
                break
            pieces.append(vocab[name])
            start += len(name) - (len(prefix) if start else 0)
        ids += pieces if start == len(word) else [vocab[model["unk_token"]]]
    return ids
