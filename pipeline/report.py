"""The report: one self-contained HTML page about a run. No network, and nothing in a document is ever executed.

Texts reach the page as JSON in a data block and are put into it as text nodes; the policy in its head allows the one
script and the one style sheet of ours by their hashes and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.card import write_card
from pipeline.charts import Threshold, bar, curves, histogram, short
from pipeline.excerpts import Rejections, kept_documents, near_duplicates
from pipeline.gates.tokens import num_words, token_lengths
from pipeline.measured import rules, survivors_statistics
from pipeline.output import Output
from pipeline.silent_rules import silent_rules
from transforms import storage
from transforms.shards import SPLITS
from transforms.unit import Slice

_SAMPLE, _SAMPLED_UNITS = 2000, 16  # a page is a look, not a measurement: of 4 GB of text, or a unit of each source
_MOST_RULES = 15  # whose values are drawn
_HERE = Path(__file__).parent


def write_report(out: str) -> str:
    """Write `report/index.html` and the dataset card of a run; return the path of the page.

    Raises:
        UserError: `out` holds no run.
    """
    output = Output(out, most_units=_SAMPLED_UNITS)
    path = storage.join(out, "report", "index.html")
    storage.write_text(path, render(output))
    write_card(output)
    return path


def render(output: Output) -> str:
    """Return the page. Everything that came from documents or configuration is escaped by the template engine."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"short": short, "bytes": _bytes, "bar": bar}
    sample = output.sample(_SAMPLE) if output.has("clean") else None
    rejections = Rejections(output)
    nothing_N = np.zeros(0, np.int64)
    doc_id_N, tokens_N = token_lengths(output)[:2] if output.has("tokenize") else (nothing_N, nothing_N)
    script, style = (Markup((_HERE / name).read_text(encoding="utf-8")) for name in ("report.js", "report.css"))  # noqa: S704
    data = {
        "documents": [*(kept_documents(sample) if sample is not None else ()), *rejections.documents()],
        "pairs": list(near_duplicates(output)),
    }
    return environment.get_template("report.html").render(
        config=output.config,
        config_text=yaml.safe_dump(output.config, sort_keys=False, allow_unicode=True),
        versions=output.run["versions"],
        stages=output.stages,
        checks=_verdicts(output),
        funnel=funnel(output),
        volume=volume(output),
        edits=edits(output.stages),
        silent=silent(output),
        languages=languages(output.stages),
        statistics=_statistics(output, sample, rejections),
        fertility=fertility(sample, doc_id_N, tokens_N),
        lengths=_lengths(output, tokens_N),
        shards=[(name, split, counts[split]) for name, counts in output.shards.items() for split in SPLITS],
        licences=licences(sample),
        sources=_sources(output),
        curves=loss_curves(_training_log(output.out)),
        data=Markup(as_data_block(data)),  # noqa: S704 - cannot end its script element
        script=script,
        style=style,
        policy="default-src 'none'; base-uri 'none'; form-action 'none'"
        f"; script-src {_source_hash(script)}; style-src {_source_hash(style)}",
    )


def _verdicts(output: Output) -> list[dict[str, Any]]:
    """Return what `gristmill check` found of what lies there now; of an earlier state nothing is shown."""
    try:
        found = storage.read_json(storage.join(output.out, "check.json"))
    except RuntimeError:
        return []
    return found["verdicts"] if isinstance(found, dict) and found.get("state") == output.state else []


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def as_data_block(value: Any) -> str:
    """Return JSON that is safe inside a script element: no `<`, `>`, `&`, and no unusual line ends."""
    text = json.dumps(value, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _bytes(number: float) -> str:
    return f"{short(number)}B"


def funnel(output: Output) -> list[dict[str, Any]]:
    """Return the steps from stored bytes to tokens: name, documents left and lost, shares of the records read."""
    stages = output.stages
    if "clean" not in stages:
        return []
    clean = stages["clean"]["counts"]
    read = left = clean["input"]
    steps = [_step("records read", read, 0, read, "read")]
    for stage in ("clean", "dedup"):
        if stage not in stages:
            continue
        counts = stages[stage]["counts"]
        for rule, lost in sorted(counts["rejected"].items(), key=lambda item: (-item[1], item[0])):
            left -= lost
            steps.append(_step(rule, left, lost, read, stage))
        steps.append(_step(f"after {stage}", counts["kept"], 0, read, "total"))
    return steps


def _step(name: str, left: int, lost: int, read: int, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "left": left,
        "lost": lost,
        "share": left / max(read, 1),
        "lost_share": lost / max(read, 1),
        "kind": kind,
    }


def _sources(output: Output) -> list[dict[str, Any]]:
    """Return each source with its stored bytes, records read and documents left."""
    stored: dict[str, int] = {}
    for unit in output.run["plan"]["units"]:
        for part in (Slice(*values) for values in unit["slices"]):
            stored[part.source] = stored.get(part.source, 0) + part.bytes
    found = []
    last = "dedup" if output.has("dedup") else "clean"
    for source in output.config["sources"]:
        units = [unit for unit in output.records("clean") if output.source_of[unit] == source["name"]]
        read = sum(output.records("clean")[unit].counts["input"] for unit in units)
        kept = sum(output.records(last)[unit].counts["kept"] for unit in units) if output.has(last) else 0
        found.append({**source, "stored": stored.get(source["name"], 0), "read": read, "kept": kept})
    return found


def volume(output: Output) -> list[tuple[str, str]]:
    """Return how much there is after each step, from stored bytes to tokens in rows."""
    stages = output.stages
    steps = [("stored", _bytes(sum(source["stored"] for source in _sources(output))))]
    for stage, name in (("clean", "text after the rules"), ("tokenize", "text after dedup")):
        if stage in stages:
            steps.append((name, _bytes(stages[stage]["counts"]["text_bytes"])))
    if "tokenize" in stages:
        steps.append(("tokens", f"{stages['tokenize']['counts']['tokens']:,}"))
    if "shards" in stages:
        parts = [stages["shards"]["counts"][split] for split in SPLITS]
        steps.append(("tokens in rows, weights applied", f"{sum(part['tokens'] for part in parts):,}"))
    return steps


def edits(stages: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return (what was done to texts, how often), most frequent first: lines cut, personal data masked."""
    found = stages.get("clean", {}).get("counts", {}).get("edits", {})
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))


def silent(output: Output) -> list[str]:
    """Return the rules of the clean stage that rejected nothing."""
    if not output.has("clean"):
        return []
    return silent_rules(output.config, output.stages["clean"]["counts"]["rejected"])


def languages(stages: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Return (language, documents, share of the most frequent), most frequent first."""
    counts = stages.get("clean", {}).get("counts", {}).get("languages", {})
    most = max(counts.values(), default=1)
    return [(name, count, count / most) for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _statistics(output: Output, sample: pa.Table | None, rejections: Rejections) -> list[tuple[str, str, Markup]]:
    """Return the histogram of each statistic, with what its rules rejected, and of what other rules measured.

    Both are scaled to the whole run: the survivors are a sample, the ledger is that of some units.
    """
    charts, drawn = [], set()
    if sample is not None and sample.num_rows:
        weight = output.stages["dedup" if output.has("dedup") else "clean"]["counts"]["kept"] / sample.num_rows
        statistic_of = {rule: statistic for rule, (statistic, _) in rules(output.config).items()}
        for name, (values, limits) in survivors_statistics(output, sample).items():
            own = [rule for rule in rejections.values if statistic_of.get(rule) == name]
            drawn.update(own)
            chart = histogram(
                name,
                values,
                limits,
                log=name in ("bytes", "words", "lines"),
                weight=weight,
                lost=rejections.scaled(own),
            )
            charts.append(("kept", name.replace("_", " "), chart))
    others = {rule: values for rule, values in rejections.values.items() if rule not in drawn}
    for rule, values in sorted(others.items(), key=lambda item: -len(item[1]))[:_MOST_RULES]:
        if rule in rejections.thresholds and len(np.unique(values)) > 1:
            limits = [Threshold(f"limit {short(rejections.thresholds[rule])}", rejections.thresholds[rule])]
            charts.append(("rejected", f"{rule}, rejected", histogram(rule, values, limits)))
    return charts


def _lengths(output: Output, tokens_N: NDArray[np.int64]) -> Markup | None:
    """Return the histogram of tokens a document."""
    limits = [Threshold("row", float(_row_length(output.config)))]
    return histogram("tokens of a document", tokens_N.astype(np.float64), limits, log=True) if len(tokens_N) else None


def _row_length(config: Mapping[str, Any]) -> int:
    length = config["tokenize"]["seq_length"]
    return int(length if isinstance(length, int) else length[0])


def fertility(
    sample: pa.Table | None, doc_id_N: NDArray[np.int64], tokens_N: NDArray[np.int64]
) -> list[tuple[str, int, int, int, float]]:
    """Return (language, documents, words, tokens, tokens a word) of the sampled survivors, most tokens first."""
    if sample is None or not sample.num_rows or not len(doc_id_N):
        return []
    order_N = np.argsort(doc_id_N)
    own_S = order_N[np.searchsorted(doc_id_N[order_N], sample.column("doc_id").to_numpy())]
    tokens_S, words_S = tokens_N[own_S], num_words(sample.column("text").combine_chunks())
    labels = sample.column("language").combine_chunks().fill_null("unknown")
    rows = []
    for language in pc.unique(labels).to_pylist():
        mine_S: NDArray[np.bool_] = pc.equal(labels, language).to_numpy(zero_copy_only=False)
        words, tokens = int(words_S[mine_S].sum()), int(tokens_S[mine_S].sum())
        rows.append((language, int(mine_S.sum()), words, tokens, tokens / max(words, 1)))
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def licences(sample: pa.Table | None) -> list[tuple[str, str, int]]:
    """Return (field, value, documents) of metadata fields that are called like a licence, most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for text in sample.column("metadata").to_pylist() if sample is not None else ():
        fields = json.loads(text) if text else {}
        for name, value in fields.items() if isinstance(fields, dict) else ():
            if any(word in str(name).lower() for word in ("license", "licence")) and isinstance(value, str):
                counts[name, value] = counts.get((name, value), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(name, value, count) for (name, value), count in ordered[:30]]


def _training_log(out: str) -> list[dict[str, Any]]:
    try:
        with storage.open_binary(storage.join(out, "pretrain", "log.jsonl")) as handle:
            # A line without its end was cut when its writer was killed; the trainer writes it again.
            return [json.loads(line) for line in handle if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


def loss_curves(log: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Return training and validation loss over steps, or None without two points."""
    series = dict(_series(log))
    return curves("loss over steps", series) if len(series.get("training", [])) >= 2 else None


def _series(log: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    for name, key in (("training", "loss"), ("validation", "validation_loss")):
        points = [(float(row["step"]), float(row[key])) for row in log if row.get(key) is not None]
        if points:
            yield name, points
