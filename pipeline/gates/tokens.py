"""Gates on tokens and rows: fertility, unknown tokens, lengths of documents, how full the rows are, validation.

Shapes: N documents, T tokens, R rows.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.gates.sample import sampled
from pipeline.gates.verdict import Example, Verdict
from pipeline.output import Output
from transforms.committed import map_table, read_batches, read_file
from transforms.encode import Encoder
from transforms.kernels.minhash import shingles
from transforms.kernels.strings import string_views
from transforms.kernels.words import word_table
from transforms.tokenizer import special_ids

SHORT = 32  # tokens: less than this is hardly a sentence or two


def tokenizer_of(output: Output) -> Tokenizer:
    """Return the tokenizer of the run, compared with its record."""
    record = output.records("tokenizer")["tokenizer"]
    return Tokenizer.from_str(read_file(output.out, record, "tokenizer/tokenizer.json").decode())


def num_words(texts: pa.Array) -> NDArray[np.int64]:
    """Return int64 [N]: the words of each text; in scripts without spaces each character is one."""
    offsets_N1, bytes_M = string_views(texts)
    num_bytes = int(offsets_N1[-1]) - int(offsets_N1[0])
    word_S, starts_N1 = np.empty(num_bytes + len(texts), np.uint64), np.empty(len(texts) + 1, np.int64)
    shingles(offsets_N1, bytes_M, word_table(), 1, word_S, starts_N1)
    return np.diff(starts_N1)


def fertility(output: Output, sample: pa.Table, limit: float) -> Iterator[Verdict]:
    """Yield the tokens a word of the sampled documents."""
    gate = "fertility"
    if not output.has("tokenize") or not sample.num_rows:
        yield Verdict.not_measured(gate, "tokenize has not run" if sample.num_rows else "no document survived")
        return
    texts = sample.column("text").combine_chunks()
    words_N = num_words(texts)
    tokens_N = np.diff(Encoder(tokenizer_of(output)).encode(texts).offsets.to_numpy())
    value = float(tokens_N.sum() / max(1, words_N.sum()))
    shown = _worst(sample, tokens_N / np.maximum(words_N, 1)) if value > limit else ()
    what = f"{tokens_N.sum():,} tokens for {words_N.sum():,} words of {sampled(output, sample)}"
    yield Verdict.at_most(gate, value, limit, what, examples=shown)


def _worst(sample: pa.Table, value_N: NDArray[np.float64]) -> tuple[Example, ...]:
    ids, urls = sample.column("doc_id"), sample.column("url")
    worst = np.argsort(-value_N, kind="stable")[:3].tolist()
    return tuple(Example(ids[row].as_py(), urls[row].as_py()) for row in worst)


def token_lengths(output: Output) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return doc_id, tokens and unknown tokens of each document of the sampled units (int64 [N])."""
    unknown = special_ids(tokenizer_of(output)).unk
    parts: list[list[NDArray[np.int64]]] = [[np.zeros(0, np.int64)] for _ in range(3)]
    for unit in output.sampled_units():
        for batch in read_batches(output.out, output.records("tokenize")[unit], "tokens", columns=("doc_id", "ids")):
            ids = batch.column("ids")
            seen_T1 = np.concatenate(([0], np.cumsum(ids.flatten().to_numpy() == unknown)))
            offsets_N1 = ids.offsets.to_numpy() - ids.offsets[0].as_py()
            found = (batch.column("doc_id").to_numpy(), np.diff(offsets_N1), np.diff(seen_T1[offsets_N1]))
            for part, values in zip(parts, found, strict=True):
                part.append(values.astype(np.int64))
    doc_id_N, tokens_N, unknown_N = (np.concatenate(part) for part in parts)
    return doc_id_N, tokens_N, unknown_N


def encoded(output: Output, unknown_limit: float | None, short_limit: float | None) -> Iterator[Verdict]:
    """Yield the share of unknown tokens, and that of documents with fewer than 32 tokens."""
    limits = {"unknown_tokens": unknown_limit, "short_documents": short_limit}
    if not output.has("tokenize"):
        yield from (
            Verdict.not_measured(gate, "tokenize has not run") for gate, limit in limits.items() if limit is not None
        )
        return
    doc_id_N, tokens_N, unknown_N = token_lengths(output)
    total = int(tokens_N.sum())
    if unknown_limit is not None:
        value = float(unknown_N.sum() / max(1, total))
        worst = np.argsort(-unknown_N / np.maximum(tokens_N, 1), kind="stable")[: min(3, np.count_nonzero(unknown_N))]
        shown = _by_id(output, doc_id_N[worst]) if value > unknown_limit else ()
        what = f"{unknown_N.sum():,} of {total:,} tokens are unknown to the tokenizer"
        yield Verdict.at_most("unknown_tokens", value, unknown_limit, what, examples=shown)
    if short_limit is not None:
        short = int((tokens_N < SHORT).sum())
        value = short / max(1, len(tokens_N))
        shown = _by_id(output, doc_id_N[np.argsort(tokens_N, kind="stable")[:3]]) if value > short_limit else ()
        low, middle, high = np.percentile(tokens_N, [5, 50, 95]) if len(tokens_N) else (0, 0, 0)
        what = (
            f"{short:,} of {len(tokens_N):,} documents have fewer than {SHORT} tokens"
            f" (5% have at most {low:,.0f}, half {middle:,.0f}, 95% {high:,.0f})"
        )
        yield Verdict.at_most("short_documents", value, short_limit, what, examples=shown)


def _by_id(output: Output, doc_ids: NDArray[np.int64]) -> tuple[Example, ...]:
    documents = output.find(ids := doc_ids.tolist())
    return tuple(Example(doc_id, documents[doc_id]["url"] if doc_id in documents else None) for doc_id in ids)


def row_fill(output: Output, limit: float) -> Iterator[Verdict]:
    """Yield how full the training rows are; with `packing: none` that says nothing, unless there are none at all."""
    gate = "row_fill"
    if not output.shards:
        yield Verdict.not_measured(gate, "there are no shards")
    for directory, splits in output.shards.items():
        counts, subject = splits["train"], "" if directory == "shards" else directory
        if not counts["rows"]:
            yield Verdict.at_least(gate, 0.0, limit, "there are no training rows", subject=subject)
            continue
        if output.config["tokenize"]["packing"] == "none":
            yield Verdict.not_measured(gate, "tokenize.packing is none: a row is one document", subject)
            continue
        value = counts["tokens"] / counts["capacity"]
        shown = _emptiest(output, directory) if value < limit else ()
        what = f"{counts['tokens']:,} tokens in {counts['rows']:,} training rows with room for {counts['capacity']:,}"
        yield Verdict.at_least(gate, value, limit, what, subject=subject, examples=shown)


def validation_rows(output: Output) -> Iterator[Verdict]:
    """Yield the rows of validation: one at least, where it was asked for. Without them nobody sees a model overfit."""
    gate, share = "validation_rows", output.config["tokenize"]["validation"]
    if not output.shards or not share:
        yield Verdict.not_measured(gate, "tokenize.validation is 0" if output.shards else "there are no shards")
        return
    for directory, splits in output.shards.items():
        rows, subject = splits["validation"]["rows"], "" if directory == "shards" else directory
        what = f"{rows:,} rows of validation where tokenize.validation asks for {share:g} of the documents"
        yield Verdict.at_least(gate, rows, 1, what, subject=subject)


def _emptiest(output: Output, directory: str) -> tuple[Example, ...]:
    """Return the first documents of the emptiest rows of the first shard."""
    record = next(iter(output.records(directory).values()))
    rows = map_table(output.out, record, f"{directory}/train").combine_chunks()
    length_R = np.diff(rows.column("input_ids").chunk(0).offsets.to_numpy())
    ids = [rows.column("doc_ids")[row][0].as_py() for row in np.argsort(length_R, kind="stable")[:3].tolist()]
    return _by_id(output, np.array(ids, np.int64))
