"""Nested counts: what a batch, a unit and a stage add up. No Beam."""

from collections.abc import Mapping
from typing import Any


def add_counts(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add nested counts in place; new keys keep their order of arrival until `sorted_counts`."""
    for name, value in more.items():
        if isinstance(value, Mapping):
            add_counts(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


def sorted_counts(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts with inner dicts ordered by name, so that equal work gives equal records."""
    return {
        name: dict(sorted(value.items())) if isinstance(value, Mapping) else value for name, value in counts.items()
    }
