"""Splitmix64: the integer hash behind every random choice of a run (Steele, Lea and Flood, OOPSLA 2014).

A hash of (seed, step, row, position) has no state: a mask does not depend on its neighbours, on the number of processes
or on what was drawn before, and nothing has to be saved to resume. The torch and numpy versions give the same 64 bits.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_GAMMA, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1


def splitmix(value: int) -> int:
    """Return the hash of one integer, 0 to 2**64 - 1."""
    value = (value + _GAMMA) & _WORD
    value = ((value ^ (value >> 30)) * _MIX1) & _WORD
    value = ((value ^ (value >> 27)) * _MIX2) & _WORD
    return value ^ (value >> 31)


def fold(*values: int) -> int:
    """Return one hash of several integers; their order matters."""
    state = 0
    for value in values:
        state = splitmix(state ^ (value & _WORD))
    return state


def splitmix_array(values_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes (uint64) of `values_N`; arithmetic wraps."""
    values_N = values_N + np.uint64(_GAMMA)
    values_N = (values_N ^ (values_N >> np.uint64(30))) * np.uint64(_MIX1)
    values_N = (values_N ^ (values_N >> np.uint64(27))) * np.uint64(_MIX2)
    return values_N ^ (values_N >> np.uint64(31))


def signed(value: int) -> int:
    """Return the int64 with the same 64 bits: torch has no arithmetic on uint64."""
    value &= _WORD
    return value - (1 << 64) if value >> 63 else value


def shift_right(values: Tensor, bits: int) -> Tensor:
    """Return the logical shift of int64 `values`: torch's own keeps the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def splitmix_tensor(values: Tensor) -> Tensor:
    """Return the hashes (int64, the bits of the unsigned ones) of int64 `values`, on their device."""
    values = values + signed(_GAMMA)
    values = (values ^ shift_right(values, 30)) * signed(_MIX1)
    values = (values ^ shift_right(values, 27)) * signed(_MIX2)
    return values ^ shift_right(values, 31)
