"""Charts of the report as inline SVG: bars, histograms with thresholds, curves. Sizes are in SVG units, about pixels.

Colours come from classes of report.css, so that a chart follows the dark mode.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 320, 150, 36, 18
_NUM_BINS = 30
_LETTER = 5.5  # width of one, about


class Lost(NamedTuple):
    """Values of rejected documents (float64 [L]), and how many documents each stands for."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]


NONE_LOST = Lost(np.zeros(0), np.zeros(0))


class Threshold(NamedTuple):
    """A line drawn into a histogram."""

    name: str
    value: float


def short(number: float) -> str:
    """Return a number in at most five characters or so: 1.2k, 35M, 0.65."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def bar(kept: float, lost: float = 0.0) -> Markup:
    """Return a bar over its full width: a share that is kept, and beside it the share that was lost last."""
    parts = [f'<rect class="kept" width="{100 * kept:.3f}" height="10"/>']
    if lost:
        parts.append(f'<rect class="lost" x="{100 * kept:.3f}" width="{max(100 * lost, 0.4):.3f}" height="10"/>')
    return _svg('class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"', parts)


def histogram(
    label: str,
    values: NDArray[np.float64],
    thresholds: Sequence[Threshold] = (),
    *,
    log: bool = False,
    weight: float = 1.0,
    lost: Lost = NONE_LOST,
) -> Markup:
    """Return a histogram of at least one value; `log` has bins of equal ratio.

    Each value stands for `weight` documents. What was lost is stacked upon them; its outermost hundredths may lie
    beyond the axis, in the bin at its end: one absurd document must not squeeze all others into a bin.
    """
    marks = [threshold.value for threshold in thresholds if not log or threshold.value > 0]
    marks += np.quantile(lost.values, (0.01, 0.99)).tolist() if len(lost.values) else []
    low, high = min([float(values.min()), *marks]), max([float(values.max()), *marks])
    if log:
        low = max(low, 1.0)
        high = max(high, low * 2)
        edges = np.geomspace(low, high, _NUM_BINS + 1)
    else:
        high = high if high > low else low + 1.0
        edges = np.linspace(low, high, _NUM_BINS + 1)
    kept_B = np.histogram(np.clip(values, low, high), edges)[0] * weight
    lost_B = np.histogram(np.clip(lost.values, low, high), edges, weights=lost.weights)[0]
    top = max(1.0, float((kept_B + lost_B).max()))
    width, height = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - 14

    def place(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return _LEFT + width * min(1.0, max(0.0, share))

    parts = []
    for number, counts in enumerate(zip(kept_B.tolist(), lost_B.tolist(), strict=True)):
        x, y = _LEFT + width * number / _NUM_BINS, 14.0 + height
        for name, count in zip(("kept", "lost"), counts, strict=True):
            tall = height * count / top
            y -= tall
            if count:
                size = f'width="{width / _NUM_BINS - 1:.1f}" height="{tall:.1f}"'
                parts.append(f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" {size}/>')
    parts += _axes(round(top), [(place(value), short(value)) for value in _ticks(low, high, log=log)])
    taken = [0.0, 0.0, 0.0]  # where the last name ends, in each row of names
    for threshold in sorted(thresholds, key=lambda threshold: threshold.value):
        if log and threshold.value <= 0:
            continue
        x, wide = place(threshold.value), _LETTER * len(threshold.name) + 4
        side, shift = ("start", 4) if x < _WIDTH / 2 else ("end", -4)
        first = x if side == "start" else x - wide
        row = next((row for row, end in enumerate(taken) if first >= end), len(taken) - 1)
        taken[row] = first + wide
        where = f'x="{x + shift:.1f}" y="{11 + 11 * row}" text-anchor="{side}"'
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{14 + height}"/>')
        parts.append(f'<text class="limit" {where}>{escape(threshold.name)}</text>')
    told = f"{label}: {len(values):,} values, median {short(float(np.median(values)))}"
    told += f"; {lost.weights.sum():,.0f} documents rejected" if len(lost.values) else ""
    return _svg(_named(told), parts)


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    if log:
        powers = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
        return powers if 1 < len(powers) < 8 else [low, high]
    step = 10 ** math.floor(math.log10((high - low) / 2))
    while (high - low) / step > 6:
        step *= 2
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(top: float, ticks: Sequence[tuple[float, str]], low: float = 0.0) -> list[str]:
    base = _HEIGHT - _BOTTOM
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{base}" y2="{base}"/>']
    parts += [
        f'<text x="{_LEFT - 4}" y="{y}" text-anchor="end">{short(value)}</text>'
        for y, value in ((22, top), (base, low))
    ]
    for x, label in ticks:
        x_in = min(x, _WIDTH - 4 - 3 * len(label))  # half of it must fit at the right
        parts.append(f'<text x="{x_in:.1f}" y="{_HEIGHT - 4}" text-anchor="middle">{label}</text>')
    return parts


def curves(label: str, series: dict[str, list[tuple[float, float]]]) -> Markup:
    """Return lines over a common axis; the first class is drawn thin, the second thick, each named in its colour."""
    points = [point for line in series.values() for point in line]
    last = max([x for x, _ in points] + [1.0])
    low, high = min(y for _, y in points), max(y for _, y in points)
    width, height, span = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - 14, (high - low) or 1.0

    def place(x: float, y: float) -> str:
        return f"{_LEFT + width * x / last:.1f},{14 + height * (high - y) / span:.1f}"

    parts = []
    for number, (name, line) in enumerate(series.items()):
        thinned = line[:: max(1, len(line) // 1000)]
        parts.append(f'<polyline class="line{number}" points="{" ".join(place(*point) for point in thinned)}"/>')
        y = 24 + 14 * number
        parts.append(f'<text class="name{number}" x="{_WIDTH - 8}" y="{y}" text-anchor="end">{escape(name)}</text>')
    parts += _axes(high, [(_LEFT + width * value / last, short(value)) for value in _ticks(0, last, log=False)], low)
    return _svg(_named(label), parts)


def _named(label: str) -> str:
    return f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}"'


def _svg(attributes: str, parts: Sequence[str]) -> Markup:
    return Markup(f"<svg {attributes}>{''.join(parts)}</svg>")  # noqa: S704 - numbers, and names that are escaped above
