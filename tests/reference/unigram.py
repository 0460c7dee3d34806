"""Slow twin of transforms.unigram: normaliser of the tokenizer, words by regular expressions, Viterbi on strings."""

import json
import re

from tests.reference.byte_level import cut_at

WHITE_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def words(pre_tokenizer, part, *, at_start):
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    for chunk in re.finditer(f"[^{WHITE_SPACE}]+" if len(steps) == 2 else "(?s).+", part):
        word = chunk[0].replace(" ", "\u2581")
        scheme = steps[-1]["prepend_scheme"]
        prepended = scheme == "always" or (scheme == "first" and at_start and chunk.start() == 0)
        if prepended and not word.startswith("\u2581"):
            word = "\u2581" + word
        yield from re.findall("\u2581[^\u2581]*|[^\u2581]+", word)


def best_path(score_of, unk_score, word):
    """The pieces of a word with the largest sum of scores; None for one unknown character."""
    best = [(0.0, None, None)] + [None] * len(word)  # sum, begin and piece of the best that ends here
    for begin in range(len(word)):
        ends = [end for end in range(begin + 1, len(word) + 1) if word[begin:end] in score_of]
        candidates = [(end, score_of[word[begin:end]], word[begin:end]) for end in ends]
        if begin + 1 not in ends:
            candidates.append((begin + 1, unk_score, None))
        for end, score, piece in candidates:
            total = best[begin][0] + score
            if best[end] is None or total > best[end][0]:
                best[end] = (total, begin, piece)
    path = []
    end = len(word)
    while end:
        _, begin, piece = best[end]
        path.append((word[begin:end], piece is None))
        end = begin
    return path[::-1]


def encode(tokenizer, text):
    """The ids of one text, special tokens read as text; every added token that is not special is normalised."""
    description = json.loads(tokenizer.to_str())
    model = description["model"]
    special = {token["content"] for token in description["added_tokens"] if token["special"]}
    ids_of = {name: number for number, (name, _) in enumerate(model["vocab"]) if name not in special}
    score_of = {name: model["vocab"][number][1] for name, number in ids_of.items()}
    unk_score = min(score for _, score in model["vocab"]) - 10
    normalised = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    added = {
        normalised(token["content"]): None if token["special"] else token["id"]
        for token in description["added_tokens"]
        if token["normalized"]
    }
    ids = []
    at_start = True
    for part, token_id in cut_at(added, normalised(text)):
        for word in words(description["pre_tokenizer"], part, at_start=at_start):
            run = ""  # of unknown characters
            for piece, unknown in [*best_path(score_of, unk_score, word), ("", False)]:
                if unknown or ids_of.get(piece) == model["unk_id"]:
                    run += piece
                    continue
                if run:
                    by_bytes = [ids_of.get(f"<0x{byte:02X}>") for byte in run.encode()]
                    known = model["byte_fallback"] and None not in by_bytes and run not in ids_of
                    ids += by_bytes if known else [ids_of.get(run, model["unk_id"])]
                    run = ""
                if piece:
                    ids.append(ids_of[piece])
        if token_id is not None:
            ids.append(token_id)
        at_start = False
    return ids
