"""Rules that were asked for and rejected nothing: what a user of a preset that does nothing looks for first."""

from collections.abc import Mapping
from typing import Any


def silent_rules(config: Mapping[str, Any], rejected: Mapping[str, int]) -> list[str]:
    """Return the names of the document rules in `config` (as run.json has it) that are not in `rejected`."""
    from transforms.presets import Choice, document_rules  # noqa: PLC0415 - numba, which `status` does not wait for

    clean = config["clean"]
    choices = [
        chosen if isinstance(chosen, str) else Choice(preset=chosen["preset"], thresholds=chosen["thresholds"])
        for chosen in clean["quality"]
    ]
    own = [rule["name"] or rule["statistic"] for rule in clean.get("rules", ())]
    return [name for name in dict.fromkeys([*own, *document_rules(choices)]) if not rejected.get(name)]
