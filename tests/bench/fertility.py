"""Tokens a word and a byte that the three models need, trained on one half of the shared corpora, counted on the other.

    python tests/bench/fertility.py [--megabytes N] [--vocab_size N]

Every second document of each language trains, the others are counted; N megabytes of either in each language (2 if not
given). Words are what white space parts, so in Chinese and Japanese they are clauses.
"""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.encode import LANGUAGES, documents
from transforms.encode import Encoder
from transforms.tokenizer import TrainParameters, special_ids, train_tokenizer


def half(names, megabytes, which):
    """Every second document, until there are so many megabytes."""
    left = megabytes * 1e6
    for text in islice(documents(names), which, None, 2):
        if left <= 0:
            return
        left -= len(text.encode())
        yield text


class Sample:
    """The texts to train on; it starts over each time it is iterated."""

    def __init__(self, megabytes):
        self._megabytes = megabytes

    def __iter__(self):
        for names in LANGUAGES.values():
            yield from half(names, self._megabytes, 0)


def main(megabytes, vocab_size):
    counted = {language: pa.array(half(names, megabytes, 1)) for language, names in LANGUAGES.items()}
    print("model      case    s " + " ".join(f"{language:>6}" for language in counted))
    for model in ("wordpiece", "bpe", "unigram"):
        for lowercase in (True, False):
            start = time.process_time()
            parameters = TrainParameters(model=model, vocab_size=vocab_size, lowercase=lowercase)
            tokenizer = train_tokenizer(Sample(megabytes), parameters)
            spent = time.process_time() - start
            encoder, unk = Encoder(tokenizer), special_ids(tokenizer).unk
            rows = {"tokens/word": [], "tokens/100 bytes": [], "unknown %": []}
            for texts in counted.values():
                ids = encoder.encode(texts).values.to_numpy()
                words = sum(len(text.split()) for text in texts.to_pylist())
                rows["tokens/word"].append(len(ids) / words)
                rows["tokens/100 bytes"].append(100 * len(ids) / pc.sum(pc.binary_length(texts)).as_py())
                rows["unknown %"].append(100 * (ids == unk).mean())
            print(f"{model:10} {'folded' if lowercase else 'cased'} {spent:4.0f}")
            for name, values in rows.items():
                print(f"  {name:18} " + " ".join(f"{value:6.2f}" for value in values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--vocab_size", type=int, default=30522)
    given = parser.parse_args()
    main(given.megabytes, given.vocab_size)
