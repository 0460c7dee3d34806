"""Statistics for the report: those of the survivors, and the thresholds that the configured rules set on them."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.charts import Threshold
from pipeline.clean import quality_options
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.gates.drift import statistics
from pipeline.output import Output
from transforms.presets import chosen_presets

# Where a rule is not called like the statistic that it looks at.
_RULES = {
    "words": ("gopher_short_doc", "gopher_long_doc"),
    "mean_word_length": ("gopher_below_avg_threshold", "gopher_above_avg_threshold"),
    "hash_ratio": ("gopher_too_many_hashes",),
    "ellipsis_ratio": ("gopher_too_many_ellipsis",),
    "bullet_line_ratio": ("gopher_too_many_bullets",),
    "ellipsis_line_ratio": ("gopher_too_many_end_ellipsis",),
    "alpha_ratio": ("gopher_below_alpha_threshold",),
    "stop_words": ("gopher_enough_stop_words",),
    "third_longest_line": ("paragraph_filter",),
}
ALWAYS = ("bytes", "words", "lines", "language_score")


def survivors_statistics(output: Output, sample: pa.Table) -> dict[str, tuple[NDArray[np.float64], list[Threshold]]]:
    """Return the values and thresholds of the statistics that a rule looks at, after those that everybody wants.

    Of the former only those that differ between documents.
    """
    limits = thresholds(output.config)
    measured = statistics(sample)
    chosen = [*ALWAYS, *(name for name in measured if name in limits and name not in ALWAYS)]
    found = {}
    for name in chosen:
        known = measured[name][~np.isnan(measured[name])]
        if len(known) and (name in ALWAYS or known.min() < known.max()):
            found[name] = (known, limits.get(name, []))
    return found


def thresholds(config: dict[str, Any]) -> dict[str, list[Threshold]]:
    """Return the thresholds of the configured rules by statistic; values that differ by language are not drawn."""
    found: dict[str, list[Threshold]] = {}
    for rule, (statistic, values) in rules(config).items():
        found.setdefault(statistic, []).extend(Threshold(rule.removeprefix("gopher_"), value) for value in values)
    return found


def rules(config: dict[str, Any]) -> dict[str, tuple[str, list[float]]]:
    """Return for each configured rule, as the ledger calls it, the statistic that it looks at, and its thresholds."""
    try:
        valid = Config.model_validate(config)
        options = quality_options(valid)
        parts = chosen_presets(options.get("presets", ()))
    except (ValidationError, UserError, ValueError):  # of another version, or a file of values that is gone
        return {}
    found: dict[str, tuple[str, list[float]]] = {}
    for rule in options.get("rules", ()):
        limits = [limit for limit in (rule.min, rule.max) if limit is not None]
        found.setdefault(rule.name or rule.statistic, (rule.statistic, []))[1].extend(limits)
    for name, value in (rule for part in parts for rule in part.preset.rules):
        if not np.isnan(value):
            found[name] = (next((statistic for statistic, names in _RULES.items() if name in names), name), [value])
    language = valid.clean.language
    if language is not None and language.keep:
        found["language"] = ("language_score", [language.threshold])
    return found
