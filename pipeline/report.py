"""The report: one self-contained HTML page about a run, without scripts and without the network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from pipeline.errors import UserError
from transforms import storage

_WIDTH, _HEIGHT = 640, 240  # of the loss curve, in SVG units


def write_report(out: str) -> str:
    """Write `report/index.html` of a run and return its path.

    Raises:
        UserError: `out` holds no run.
    """
    try:
        run = storage.read_json(storage.join(out, "run.json"))
    except NotADirectoryError:
        run = None
    if run is None:
        raise UserError(f"{out} holds no run.json; give the output directory of a run")
    path = storage.join(out, "report", "index.html")
    storage.write_text(path, render(run, _training_log(out)))
    return path


def render(run: Mapping[str, Any], training_log: Sequence[Mapping[str, Any]]) -> str:
    """Return the page. Everything that came from documents or configuration is escaped by the template engine."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    stages = run["stages"]
    return environment.get_template("report.html").render(
        run=run,
        stages=stages,
        funnel=funnel(stages),
        rejections=rejections(stages),
        edits=edits(stages),
        languages=sorted(stages.get("clean", {}).get("counts", {}).get("languages", {}).items(), key=lambda i: -i[1]),
        curves=loss_curves(training_log),
        width=_WIDTH,
        height=_HEIGHT,
        config=json.dumps(run["config"], indent=1),
    )


def funnel(stages: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Return (step, documents left, share of the records read) from reader to tokens."""
    steps = []
    if "clean" in stages:
        steps += [
            ("records read", stages["clean"]["counts"]["input"]),
            ("after clean", stages["clean"]["counts"]["kept"]),
        ]
    if "dedup" in stages:
        steps.append(("after dedup", stages["dedup"]["counts"]["kept"]))
    first = max(steps[0][1], 1) if steps else 1
    return [(name, count, count / first) for name, count in steps]


def edits(stages: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return (what was done to texts, how often), most frequent first: lines cut, personal data masked."""
    found = stages.get("clean", {}).get("counts", {}).get("edits", {})
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))


def rejections(stages: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return (stage, rule, documents), most frequent first."""
    found = [
        (stage, rule, count)
        for stage in ("clean", "dedup")
        for rule, count in stages.get(stage, {}).get("counts", {}).get("rejected", {}).items()
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[0], entry[1]))


def _training_log(out: str) -> list[dict[str, Any]]:
    try:
        with storage.open_binary(storage.join(out, "pretrain", "log.jsonl")) as handle:
            return [json.loads(line) for line in handle]
    except FileNotFoundError:
        return []


def loss_curves(log: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return SVG point lists of training and validation loss with their axes, or None without two points."""
    series = {name: [(row["step"], row[name]) for row in log if name in row] for name in ("loss", "validation_loss")}
    points = [point for line in series.values() for point in line]
    if len(series["loss"]) < 2:
        return None
    last_step = max(step for step, _ in points)
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    span = (high - low) or 1.0

    def place(step: float, loss: float) -> str:
        return f"{step / last_step * _WIDTH:.1f},{(high - loss) / span * _HEIGHT:.1f}"

    lines = {name: " ".join(place(*point) for point in line) for name, line in series.items()}
    return {"lines": lines, "low": low, "high": high, "last_step": last_step}
