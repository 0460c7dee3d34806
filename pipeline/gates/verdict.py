"""The verdict of a gate: what was measured, the limit, and up to three documents that show it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

from pipeline.escape import printable

NUM_EXAMPLES = 3
Status = Literal["passed", "failed", "not measured"]


class Example(NamedTuple):
    """A document that shows what the gate measured."""

    doc_id: int
    url: str | None

    def __str__(self) -> str:
        return f"{self.doc_id} {printable(self.url)}" if self.url else str(self.doc_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one gate says about one subject (a source, a language, a statistic; empty for the whole run)."""

    gate: str
    subject: str = ""
    status: Status
    value: float | None = None
    limit: float | None = None
    what: str
    examples: tuple[Example, ...] = ()

    @classmethod
    def at_most(cls, gate: str, value: float, limit: float, what: str, **more: Any) -> Self:
        """Pass if `value` is at most `limit`."""
        return cls(
            gate=gate, status="passed" if value <= limit else "failed", value=value, limit=limit, what=what, **more
        )

    @classmethod
    def at_least(cls, gate: str, value: float, limit: float, what: str, **more: Any) -> Self:
        """Pass if `value` is at least `limit`."""
        return cls(
            gate=gate, status="passed" if value >= limit else "failed", value=value, limit=limit, what=what, **more
        )

    @classmethod
    def not_measured(cls, gate: str, why: str, subject: str = "") -> Self:
        """Say why there is no value; this is neither passed nor failed."""
        return cls(gate=gate, subject=subject, status="not measured", what=why)

    @property
    def name(self) -> str:
        """The gate, and its subject in brackets."""
        return f"{self.gate}[{printable(self.subject)}]" if self.subject else self.gate

    @property
    def message(self) -> str:
        """Return one line: gate, value, limit, what was counted, examples of a failure."""
        if self.status == "not measured":
            return f"{self.name}: {self.what}"
        shown = f"; for example {', '.join(str(example) for example in self.examples)}" if self.examples else ""
        return f"{self.name}: {self.value:.4g}, limit {self.limit:.4g}: {printable(self.what)}{shown}"


def examples(rows: Iterable[dict[str, Any]]) -> tuple[Example, ...]:
    """Return the first three of rows with doc_id and url."""
    found = []
    for row in rows:
        found.append(Example(row["doc_id"], row.get("url")))
        if len(found) == NUM_EXAMPLES:
            break
    return tuple(found)
