"""The choice of attention kernels: a short race on one real microbatch, in which wrong results lose."""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.pretrain.architecture import Architecture
from pipeline.pretrain.attention import BACKENDS, attend, layout_of

_WARMUP, _ROUNDS = 3, 5
_LARGEST_ERROR = 0.03


class Race(NamedTuple):
    """The outcome.

    Attributes:
        seconds: by name, forward and backward of all global and of all local layers, infinite for a kernel that failed.
        failures: by name, why.
    """

    seconds: dict[str, tuple[float, float]]
    failures: dict[str, str]


def winner(seconds: dict[str, tuple[float, float]]) -> str:
    """Return the fastest kernel, or the pair `global+local` where they are two."""
    whole, near = (min(seconds, key=lambda name: seconds[name][kind]) for kind in (0, 1))
    has_local = seconds[near][1] > 0
    return f"{whole}+{near}" if has_local and near != whole else whole


def race_backends(
    a: Architecture, lengths_BP: Tensor, num_tokens: int, *, dtype: torch.dtype, backends: Sequence[str] = BACKENDS
) -> Race:
    """Return how fast each of `backends` is for rows like `lengths_BP`, on their device.

    The first is the judge: another one whose result or gradient is off by more than 3% of the largest value, or that
    raises, is out. Kernels depend on versions of torch, CUDA and the driver that no test here can cover.

    Args:
        a: the model's numbers.
        lengths_BP: piece lengths of one microbatch.
        num_tokens: tokens in a row.
        dtype: of the computation.
        backends: candidates; the first must be right.
    """
    seconds: dict[str, tuple[float, float]] = {}
    failures: dict[str, str] = {}
    expected: list[Tensor] = []
    for name in backends:
        try:
            results, seconds[name] = _run(a, lengths_BP, num_tokens, dtype, name)
        except Exception as error:
            if name == backends[0]:
                raise
            failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        else:
            expected = expected or results
            worst = max(_error(got, wanted) for got, wanted in zip(results, expected, strict=True))
            if not worst <= _LARGEST_ERROR:
                failures[name] = f"off by {worst:.2g} of the largest value"
        if name in failures:
            seconds[name] = (float("inf"), float("inf"))
    return Race(seconds, failures)


def _run(
    a: Architecture, lengths_BP: Tensor, num_tokens: int, dtype: torch.dtype, backend: str
) -> tuple[list[Tensor], tuple[float, float]]:
    """Return results and gradients of a global and a local layer, and the seconds of as many of each as there are."""
    device = lengths_BP.device
    layout = layout_of(lengths_BP, num_tokens, a.local_window, backend)
    real_BS1 = (layout.document_BS < layout.num_pieces).unsqueeze(2)
    generator = torch.Generator(device).manual_seed(0)
    shape = (len(lengths_BP), num_tokens, a.heads, a.head_width)
    q, k, v = (torch.randn(shape, generator=generator, device=device, dtype=dtype).requires_grad_() for _ in range(3))
    results: list[Tensor] = []
    totals_s = [0.0, 0.0]
    kinds = [a.is_global(layer) for layer in range(a.layers)]
    for kind, is_global in enumerate((True, False)):
        if is_global not in kinds:
            continue
        rounds_s = []
        for _ in range(_WARMUP + _ROUNDS):
            begun = _now(device)
            mixed = attend(q, k, v, layout, is_global=is_global, slots_BQ=None) * real_BS1
            gradients = torch.autograd.grad(mixed.float().square().sum(), (q, k, v))
            rounds_s.append(_now(device) - begun)
        totals_s[kind] = statistics.median(rounds_s[_WARMUP:]) * kinds.count(is_global)
        results += [mixed.detach(), *gradients]
    return results, (totals_s[0], totals_s[1])


def _error(got: Tensor, wanted: Tensor) -> float:
    """Return the largest difference relative to the largest value; nan where there is one."""
    return float((got.float() - wanted.float()).abs().max() / wanted.float().abs().max())


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
