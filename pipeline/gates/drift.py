"""Gates against a baseline run: population stability of each statistic and of the languages, and the number of tokens.

The population stability index is the sum over bins of (now - then) * ln(now / then), bins being quantiles of the
baseline. By convention below 0.1 nothing has changed and above 0.25 much has.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.gates.sample import in_flight
from pipeline.gates.verdict import Verdict, examples
from pipeline.output import Output
from transforms.kernels.statistics import STATISTICS
from transforms.quality import filter_quality
from transforms.schema import STATISTIC

_LEAST_SHARE = 1e-4  # of an empty bin: its logarithm must be finite
_BIN_DOCUMENTS = 50  # in the smaller sample; with fewer in a bin, chance alone moves the index


def statistics(sample: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Return the statistics of N documents (float64 [N], NaN where there is none): those that rules may look at."""
    score = sample.column("language_score").combine_chunks().cast(pa.float64())
    found = {
        "bytes": pc.binary_length(sample.column("text").combine_chunks()).to_numpy().astype(np.float64),
        "language_score": score.fill_null(np.nan).to_numpy(zero_copy_only=False),
    }
    measured = filter_quality(in_flight(sample), presets=(), keep_statistics=True)
    for name in STATISTICS:
        found[name] = measured.column(STATISTIC + name).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return found


def stability_index(then_B: NDArray[Any], now_B: NDArray[Any]) -> float:
    """Return the population stability index of two histograms over the same bins."""
    then, now = (np.maximum(counts_B / max(1, counts_B.sum()), _LEAST_SHARE) for counts_B in (then_B, now_B))
    return float(((now - then) * np.log(now / then)).sum())


def drift(sample: pa.Table, before: pa.Table, limit: float) -> Iterator[Verdict]:
    """Yield the index of each statistic and of the language mix between two samples."""
    smaller = min(sample.num_rows, before.num_rows)
    if smaller < 2 * _BIN_DOCUMENTS:
        yield Verdict.not_measured("drift", f"{smaller} documents are too few; {2 * _BIN_DOCUMENTS} are needed")
        return
    edges_q = np.linspace(0, 1, min(10, smaller // _BIN_DOCUMENTS) + 1)[1:-1]
    then, now = statistics(before), statistics(sample)
    for name, then_N in then.items():
        now_N = now[name]
        if np.isnan(then_N).all() and np.isnan(now_N).all():
            yield Verdict.not_measured("drift", "no document has it", name)
            continue
        edges = _edges(then_N[~np.isnan(then_N)], edges_q)
        bins = [_bins(values_N, edges) for values_N in (then_N, now_N)]
        counts_B = [np.bincount(bin_N, minlength=len(edges) + 2) for bin_N in bins]
        value = stability_index(*counts_B)
        (mean_then, zero_then), (mean_now, zero_now) = (_mean(values_N) for values_N in (then_N, now_N))
        what = f"mean {mean_now} where the baseline has {mean_then}, median {zero_now} where it has {zero_then}"
        shown = _grown(sample, bins[1], *counts_B) if value > limit else ()
        yield Verdict.at_most("drift", value, limit, what, subject=name, examples=shown)
    yield _languages(sample, before, limit)


def _edges(then_N: NDArray[np.float64], edges_q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the bins of known values begin: quantiles of the baseline, tied values having a bin of their own.

    Most documents have 0 of what rules reject, and all quantiles are 0: without a bin for 0 nothing could ever drift.
    """
    if not len(then_N):
        return then_N
    quantile_Q, times_Q = np.unique(np.quantile(then_N, edges_q), return_counts=True)
    tied = quantile_Q[(times_Q > 1) | (quantile_Q == then_N.min())]
    return np.unique(np.concatenate([quantile_Q, np.nextafter(tied, np.inf)]))


def _bins(values_N: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each value; documents without one have the last."""
    return np.where(np.isnan(values_N), len(edges) + 1, np.searchsorted(edges, values_N, side="right"))


def _mean(values_N: NDArray[np.float64]) -> tuple[str, str]:
    """Return mean and median of the values there are, as words."""
    known = values_N[~np.isnan(values_N)]
    return (f"{known.mean():.4g}", f"{np.median(known):.4g}") if len(known) else ("none", "none")


def _grown(sample: pa.Table, bin_N: NDArray[Any], then_B: NDArray[Any], now_B: NDArray[Any]) -> tuple[Any, ...]:
    """Return documents of the bin whose share has grown most."""
    grown = int(np.argmax(now_B / now_B.sum() - then_B / then_B.sum()))
    return examples(sample.select(["doc_id", "url"]).filter(pa.array(bin_N == grown)).slice(0, 3).to_pylist())


def _languages(sample: pa.Table, before: pa.Table, limit: float) -> Verdict:
    columns = [table.column("language").combine_chunks().fill_null("unknown") for table in (before, sample)]
    names = pc.unique(pa.concat_arrays(columns))
    counts_B = [np.bincount(pc.index_in(column, names).to_numpy(), minlength=len(names)) for column in columns]
    value = stability_index(*counts_B)
    changes = counts_B[1] / sample.num_rows - counts_B[0] / before.num_rows
    most = int(np.argmax(np.abs(changes)))
    what = f"most changed: {names[most]}, by {changes[most]:+.1%} of the documents"
    shown = _grown(sample, pc.index_in(columns[1], names).to_numpy(), *counts_B) if value > limit else ()
    return Verdict.at_most("drift", value, limit, what, subject="languages", examples=shown)


def tokens_changed(output: Output, before: Output, limit: float) -> Iterator[Verdict]:
    """Yield by which share of the baseline's tokens the number of tokens has changed."""
    gate = "tokens_changed"
    if not (output.has("tokenize") and before.has("tokenize")):
        yield Verdict.not_measured(
            gate, "tokenize has not run" + ("" if before.has("tokenize") else " in the baseline")
        )
        return
    now, then = (run.stages["tokenize"]["counts"]["tokens"] for run in (output, before))
    what = f"{now:,} tokens where the baseline has {then:,}"
    yield Verdict.at_most(gate, abs(now - then) / max(1, then), limit, what)


def open_baseline(path: str) -> Output:
    """Return the baseline's output.

    Raises:
        UserError: it is no run, or its clean stage has not ended.
    """
    baseline = Output(path)
    if not baseline.has("clean"):
        raise UserError(f"--baseline {path}: its clean stage has not ended")
    return baseline
