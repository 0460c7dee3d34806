"""`gristmill warm`: compile every kernel now, so that the first batch of a run does not wait for a second each."""

import tempfile
import time
from pathlib import Path

from pipeline.config import Config, Runner
from pipeline.first_use import compile_kernels, write_texts
from pipeline.job import Say
from pipeline.run import run
from pipeline.sections import Clean, Dedup, Lines, MinHash, Substrings, Tokenize, TokenizerChoice
from transforms.kernels.machine_code import ALL, note_filled
from transforms.presets import PRESETS
from transforms.readers.source import Source


def warm(say: Say) -> None:
    """Run a corpus of a few hundred words through all stages that have kernels, and throw it away."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "words.jsonl"
        write_texts(path)
        words = Path(directory) / "bad-words"
        words.write_text("none of them has this\n", encoding="utf-8")
        config = Config(
            name="warm",
            output=f"{directory}/out",
            sources=(Source(name="words", format="jsonl", path=str(path)),),
            clean=Clean.model_validate(
                {"language": {}, "pii": ["email", "ip", "phone", "card", "iban"], "bad_words": {"path": str(words)}}
            ),
            runner=Runner(engine="FnApiRunner"),
            tokenize=Tokenize(tokenizer=TokenizerChoice(train="wordpiece", vocab_size=300), seq_length=64),
        )
        with_rules = config.model_copy(
            update={"clean": config.clean.model_copy(update={"quality": tuple(PRESETS), "stop_words": "en"})}
        )  # which no such text survives
        compile_kernels(with_rules, lambda _: None)
        run(with_rules, first="clean", last="clean", beam_options=[], say=lambda _: None)
        minhash = MinHash(verify="jaccard")
        by_shingles = config.model_copy(update={"dedup": Dedup(minhash=minhash)})
        run(by_shingles, first="clean", last="dedup", beam_options=[], say=lambda _: None)
        with_spans = config.model_copy(update={"dedup": Dedup(lines=Lines(), substrings=Substrings(min_length=32))})
        run(with_spans, first="clean", last="dedup", beam_options=[], say=lambda _: None)
        for packing in ("best_fit", "concat", "pairs"):
            tokenize = config.tokenize.model_copy(update={"packing": packing})
            packed = config.model_copy(update={"tokenize": tokenize})
            run(packed, first="clean", last="tokenize", beam_options=[], say=lambda _: None)
        for model in ("bpe", "unigram"):
            choice = TokenizerChoice.model_validate({"train": model, "vocab_size": 300})
            tokenize = config.tokenize.model_copy(update={"tokenizer": choice})
            with_model = config.model_copy(update={"tokenize": tokenize})
            run(with_model, first="clean", last="tokenize", beam_options=[], say=lambda _: None)
    note_filled(ALL)
    say(f"kernels compiled in {time.monotonic() - started:.0f} s")
