"""`gristmill check`: all gates over a finished run, and their verdicts as JUnit XML, Markdown and JSON beside it."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.config import Checks, first_error, load_config, override
from pipeline.errors import UserError
from pipeline.escape import markdown
from pipeline.gates.contamination import contamination, contamination_again
from pipeline.gates.drift import drift, open_baseline, tokens_changed
from pipeline.gates.duplicates import duplicates_left
from pipeline.gates.files import files
from pipeline.gates.kept import kept_language, kept_source
from pipeline.gates.sample import language_purity, pii_left
from pipeline.gates.tokens import encoded, fertility, row_fill, validation_rows
from pipeline.gates.verdict import Verdict
from pipeline.output import Output
from transforms import storage


def check(
    out: str,
    *,
    config: str | None,
    overrides: Sequence[str],
    baseline: str | None,
    tell: Callable[[Verdict], Any] = lambda _: None,
) -> list[Verdict]:
    """Run the gates, write check.xml, check.md and check.json into `out`, and return the verdicts.

    Args:
        out: the output directory of a run.
        config: a configuration whose `checks` are used instead of those stored with the run.
        overrides: `checks.KEY=VALUE`.
        baseline: the output directory of an earlier run to compare with.
        tell: called with each verdict as it is found; a large run takes a while.

    Raises:
        UserError: no run there, or a limit that cannot be.
    """
    output = Output(out)
    if not output.has("clean"):
        raise UserError(f"{out}: the clean stage has not ended; finish the run first")
    limits = chosen_limits(output, config, overrides)
    before = open_baseline(baseline) if baseline is not None else None
    verdicts = []
    for verdict in _verdicts(output, limits, before):
        tell(verdict)
        verdicts.append(verdict)
    storage.write_json(
        storage.join(out, "check.json"), {"state": output.state, "verdicts": [as_json(verdict) for verdict in verdicts]}
    )
    storage.write_text(storage.join(out, "check.md"), as_markdown(output.config["name"], verdicts))
    storage.write_text(storage.join(out, "check.xml"), as_junit(verdicts))
    return verdicts


def chosen_limits(output: Output, config: str | None, overrides: Sequence[str]) -> Checks:
    """Return the limits: those stored with the run, or those of a configuration file, with overrides applied.

    Raises:
        UserError: an override of anything but `checks`, or a value that is not allowed.
    """
    chosen = load_config(config).checks.model_dump() if config is not None else dict(output.config.get("checks", {}))
    raw = {"checks": chosen}
    for given in overrides:
        if not given.startswith("checks."):
            raise UserError(f"--set {given}: check takes checks.KEY=VALUE only; the run is finished")
        override(raw, given)
    try:
        return Checks.model_validate(raw["checks"])
    except ValidationError as error:
        raise UserError(f"checks: {first_error(error, Checks)}") from None


def _verdicts(output: Output, limits: Checks, before: Output | None) -> Iterator[Verdict]:
    damaged = list(files(output))
    yield from damaged
    if any(verdict.status == "failed" for verdict in damaged):
        return  # every other gate reads these files
    if limits.kept_source is not None:
        yield from kept_source(output, limits.kept_source)
    if limits.kept_language is not None:
        yield from kept_language(output, limits.kept_language)
    sample = output.sample(limits.sample)
    if limits.language_purity is not None:
        yield from language_purity(output, sample, limits.language_purity)
    if limits.duplicates_left is not None:
        yield from duplicates_left(output, limits.duplicates_left)
    yield from pii_left(output, sample, limits.pii_left)
    if limits.contamination is not None:
        yield from contamination(output, limits.contamination)
        yield from contamination_again(output, sample, limits.contamination)
    if limits.fertility is not None:
        yield from fertility(output, sample, limits.fertility)
    yield from encoded(output, limits.unknown_tokens, limits.short_documents)
    if limits.row_fill is not None:
        yield from row_fill(output, limits.row_fill)
    yield from validation_rows(output)
    if before is None:
        yield Verdict.not_measured("drift", "no --baseline was given")
        return
    if limits.drift is not None:
        yield from drift(sample, before.sample(limits.sample), limits.drift)
    if limits.tokens_changed is not None:
        yield from tokens_changed(output, before, limits.tokens_changed)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict for check.json."""
    return {
        "gate": verdict.gate,
        "subject": verdict.subject or None,
        "status": verdict.status,
        "value": verdict.value,
        "limit": verdict.limit,
        "what": verdict.what,
        "message": verdict.message,
        "examples": [example._asdict() for example in verdict.examples],
    }


def as_markdown(name: str, verdicts: Sequence[Verdict]) -> str:
    """Return a table of the gates, failures first, to be posted to a pull request."""
    failed = [verdict for verdict in verdicts if verdict.status == "failed"]
    measured = sum(verdict.status != "not measured" for verdict in verdicts)
    outcome = f"{len(failed)} of {measured} gates failed" if failed else f"all {measured} gates passed"
    lines = [f"### {markdown(name)}: {outcome}", "", "| | gate | value | limit | |", "|---|---|---|---|---|"]
    order = ("failed", "passed", "not measured")
    for verdict in sorted(verdicts, key=lambda verdict: order.index(verdict.status)):
        numbers = [f"{number:.4g}" if number is not None else "-" for number in (verdict.value, verdict.limit)]
        examples = "".join(f"<br>{markdown(str(example))}" for example in verdict.examples)
        cells = [verdict.status, markdown(verdict.name), *numbers, markdown(verdict.what) + examples]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_junit(verdicts: Sequence[Verdict]) -> str:
    """Return JUnit XML: one test case a verdict, `skipped` for what could not be measured."""
    status = [verdict.status for verdict in verdicts]
    counts = {"tests": len(status), "failures": status.count("failed"), "skipped": status.count("not measured")}
    attributes = {name: str(count) for name, count in counts.items()}
    suites = ET.Element("testsuites", attributes)
    suite = ET.SubElement(suites, "testsuite", {"name": "gristmill check", "errors": "0", **attributes})
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", {"classname": "gristmill.check", "name": verdict.name})
        if verdict.status == "failed":
            ET.SubElement(case, "failure", {"message": verdict.message, "type": verdict.gate})
        elif verdict.status == "not measured":
            ET.SubElement(case, "skipped", {"message": verdict.what})
        else:
            ET.SubElement(case, "system-out").text = verdict.message
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"
