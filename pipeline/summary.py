"""The closing words of a run: what went in and came out, where it lies, and what to type next."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from pipeline.escape import printable
from pipeline.silent_rules import silent_rules
from transforms import storage

if TYPE_CHECKING:
    from pipeline.run import Outcome

_TOP_RULES = 8
_IN = " " * 10


def print_summary(outcome: "Outcome") -> None:
    """Print the summary of the run in `outcome.out`."""
    if outcome.num_units_run == 0:
        print(f"{outcome.out} is complete for this configuration; nothing to do.")
        return
    run = storage.read_json(storage.join(outcome.out, "run.json"))
    for line in summary_lines(outcome.out, run["config"], run["stages"]):
        print(line)
    print(f"\nDone in {outcome.seconds:.0f} s.")


def summary_lines(out: str, config: Mapping[str, Any], stages: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the summary from the configuration and the stages' entries in run.json."""
    yield ""
    if "clean" in stages:
        counts = stages["clean"]["counts"]
        size = _size(counts["text_bytes"])
        yield f"clean     {counts['input']:,} records read, {counts['kept']:,} documents kept ({size})"
        yield from _rules(counts["rejected"])
        if silent := silent_rules(config, counts["rejected"]):
            yield from wrap(f"rejected nothing: {', '.join(silent)}", 100, initial_indent=_IN, subsequent_indent=_IN)
        if any(counts.get("edits", {}).values()):
            yield "          done to texts:"
            yield from _rules(counts["edits"])
    if "dedup" in stages:
        counts = stages["dedup"]["counts"]
        yield (
            f"dedup     {counts['kept']:,} documents kept, {sum(counts['rejected'].values()):,} removed, "
            f"{counts['clusters']:,} duplicate clusters"
        )
        yield from _rules(counts["rejected"])
    if "tokenize" in stages:
        counts = stages["tokenize"]["counts"]
        yield f"tokenize  {counts['tokens']:,} tokens of {counts['kept']:,} documents"
        yield from _vocabulary(config["tokenize"]["tokenizer"], stages["tokenizer"]["counts"]["vocab_size"])
    if "shards" in stages:
        yield from _shards(stages["shards"]["counts"])
    if "pretrain" in stages:
        yield from _training(stages["pretrain"]["summary"])
    yield ""
    yield f"Everything lies in {out}:"
    for name, what in _PLACES:
        if not storage.is_local(out) or (Path(out) / name).exists():
            yield f"  {name:<20} {what}"
    yield ""
    yield "Next:"
    if "shards" in stages:
        yield f"  python -c \"import datasets; print(datasets.load_from_disk('{storage.join(out, 'shards')}'))\""
    if "pretrain" in stages:
        model = storage.join(out, "model")
        # A loaded tokenizer may call its mask <mask>.
        fill = f"f = pipeline('fill-mask', '{model}'); print(f('A ' + f.tokenizer.mask_token + '.'))"
        yield f'  python -c "from transformers import pipeline; {fill}"'
    if "shards" in stages:
        yield f"  gristmill {f'check {out}':<19} # the quality gates, measured again"
    yield "  gristmill plan YOUR.yaml      # configs/ holds examples to start from"


_PLACES = (
    ("documents/", "the documents that passed, one Arrow file a unit"),
    ("statistics/", "what the quality rules measured, by document"),
    ("rejected/", "every record that did not, with rule, value and threshold"),
    ("deletions/", "duplicates, each with the document that it repeats"),
    ("clusters/", "the size of each duplicate cluster, by survivor"),
    ("superseded/", "documents of earlier runs that this run replaces, or models trained before"),
    ("contaminated/", "documents that share text with an evaluation set"),
    ("tokenizer/", "the tokenizer, as AutoTokenizer loads it"),
    ("shards/", "rows of token ids, as datasets.load_from_disk opens them"),
    ("model/", "the trained model, as transformers loads it"),
    ("report/index.html", "all of this as one page"),
    ("README.md", "the dataset card, for the Hugging Face hub"),
    ("run.json", "configuration, versions, counts, column hashes"),
)


def _rules(rejected: Mapping[str, int]) -> Iterator[str]:
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    for rule, count in ordered[:_TOP_RULES]:
        yield f"            {rule:<32} {count:>10,}"
    if len(ordered) > _TOP_RULES:
        rest = sum(count for _, count in ordered[_TOP_RULES:])
        yield f"            {len(ordered) - _TOP_RULES} more rules{'':<20} {rest:>10,}"


def _vocabulary(choice: Mapping[str, Any], size: int) -> Iterator[str]:
    asked = choice["vocab_size"]
    if choice["load"] is None and size < asked:
        yield f"{_IN}{size:,} tokens in the vocabulary of the {asked:,} asked for: the texts have no more"


def _shards(counts: Mapping[str, Any]) -> Iterator[str]:
    for split in ("train", "validation"):
        part = counts[split]
        fill = part["tokens"] / part["capacity"] if part["capacity"] else 0.0
        yield f"shards    {split:<10} {part['rows']:,} rows, {part['tokens']:,} tokens, {fill:.2%} full"
        if part.get("random"):
            share, forced = part["random"] / part["rows"], part["forced"] / part["rows"]
            yield f"{'':<21}{share:.1%} random pairs, {forced:.1%} because their segment is one sentence"
    if counts["near_validation"]:
        yield f"          {counts['near_validation']:,} left out of train, being too like a validation document"


def _training(summary: Mapping[str, Any]) -> Iterator[str]:
    first, last = summary["first_loss"], summary["last_loss"]
    losses = "" if first is None else f"loss {first:.2f} -> {last:.2f} in "
    yield f"pretrain  {losses}{summary['steps']:,} steps"
    if summary["validation_loss"] is not None:
        yield (
            f"          validation loss {summary['validation_loss']:.2f} nats; "
            f"the unigram entropy (a model without context) is {summary['unigram_entropy']:.2f}"
        )
    for example in summary["fill_mask"]:
        guesses = ", ".join(printable(guess["token"]) for guess in example["predictions"])
        yield f"            {printable(' '.join(example['text'].split()))}  ->  {guesses}"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB of text" if num_bytes < 1e10 else f"{num_bytes / 1e9:,.1f} GB of text"
