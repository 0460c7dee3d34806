"""Kernels of transforms.kernels.packing and their twins, side by side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import packing as twin
from transforms.kernels import packing as kernels

BOTH = pytest.mark.parametrize("implementation", [kernels, twin], ids=["kernel", "twin"])
CAPACITIES = st.sampled_from([8, 9, 63, 64, 65, 512, 4100])
DEFAULT = settings(max_examples=60, deadline=None)


@st.composite
def packable(draw):
    """Lengths of pieces and the row that each of them fits into."""
    capacity = draw(CAPACITIES)
    return draw(st.lists(st.integers(1, capacity), max_size=40)), capacity


def rows_of(implementation, lengths, capacity):
    row_P = np.full(len(lengths), -1, np.int32)
    num_rows = implementation.best_fit(np.array(lengths, np.int32), capacity, row_P)
    return row_P, num_rows


@BOTH
@DEFAULT
@given(st.integers(0, 2**64 - 1), st.integers(0, 50))
def test_permutation_holds_every_number_once(implementation, seed, num):
    """Every number from 0, each once, and the twin's order."""
    order_N, expected_N = np.full(num, -1, np.int32), np.full(num, -1, np.int32)
    implementation.permutation(np.uint64(seed), order_N)
    twin.permutation(np.uint64(seed), expected_N)
    assert sorted(order_N.tolist()) == list(range(num))
    assert order_N.tolist() == expected_N.tolist()


def test_permutation_is_even():
    """Each number comes first about equally often: 5 standard deviations over 20,000 seeds."""
    num, trials = 10, 20_000
    order_N = np.empty(num, np.int32)
    first = np.zeros(num, np.int64)
    for seed in range(trials):
        kernels.permutation(np.uint64(seed), order_N)
        first[order_N[0]] += 1
    spread = np.sqrt(trials / num * (1 - 1 / num))
    assert np.abs(first - trials / num).max() < 5 * spread


@BOTH
@DEFAULT
@given(packable())
def test_best_fit_fills_rows_within_capacity(implementation, case):
    """Every piece has a row, no row is empty or too full, and the rows are as full as the twin's."""
    lengths, capacity = case
    row_P, num_rows = rows_of(implementation, lengths, capacity)
    fill_R = np.bincount(row_P, weights=lengths, minlength=num_rows).astype(np.int64)
    assert len(fill_R) == num_rows
    assert ((fill_R > 0) & (fill_R <= capacity)).all()
    twin_row_P, twin_num_rows = rows_of(twin, lengths, capacity)
    twin_fill_R = np.bincount(twin_row_P, weights=lengths, minlength=twin_num_rows).astype(np.int64)
    assert sorted(fill_R.tolist()) == sorted(twin_fill_R.tolist())


@pytest.mark.parametrize("capacity", [128, 512, 2048])
@pytest.mark.parametrize("law", ["lognormal", "paragraphs", "uniform", "alike", "short"])
def test_fill_is_within_half_a_point_of_best_fit_decreasing(capacity, law):
    """On 3,000 pieces, one row aside; leaving all pieces unsorted loses up to 3.5 points (paragraphs, 512)."""
    rng = np.random.default_rng(7)
    draws = {
        "lognormal": rng.lognormal(np.log(capacity / 2), 1.2, 3000),
        "paragraphs": rng.lognormal(np.log(capacity * 0.43), 0.35, 3000),
        "uniform": rng.integers(3, capacity + 1, 3000),
        "alike": rng.normal(capacity * 0.58, capacity * 0.08, 3000),
        "short": rng.lognormal(np.log(capacity / 25), 0.7, 3000),
    }
    lengths = np.clip(draws[law], 3, capacity).astype(np.int32)
    _, num_rows = rows_of(kernels, lengths, capacity)
    best = lengths.sum() / (twin.best_fit_decreasing(lengths, capacity) * capacity)
    assert lengths.sum() / ((num_rows - 1) * capacity) > best - 0.005


def test_short_pieces_are_spread():
    """No row collects the shortest documents of all: at most 64 pieces where sorting everything makes over 400."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.5, 1.2, 50_000), 3, 8192).astype(np.int32)
    row_P, _ = rows_of(kernels, lengths, 8192)
    assert np.bincount(row_P).max() <= 64


@BOTH
@DEFAULT
@given(st.lists(st.integers(0, 60), max_size=30), st.sampled_from([8, 9, 16, 64]))
def test_concatenate_cuts_only_where_rows_are_full(implementation, num_tokens, capacity):
    """Pieces tile every document in order; a row lacks at most two tokens, the last one aside; equal to the twin."""
    num_tokens_N = np.array(num_tokens, np.int32)
    bound = len(num_tokens) + (sum(num_tokens) + 2 * len(num_tokens)) // (capacity - 4) + 2
    results = []
    for each in (implementation, twin):
        arrays = [np.full(bound, -1, np.int32) for _ in range(4)]
        num_pieces = each.concatenate(num_tokens_N, capacity, *arrays)
        results.append([array[:num_pieces].tolist() for array in arrays])
    document_P, start_P, lengths_P, row_P = results[0]
    assert results[0] == results[1]
    covered = [
        (document, start + i)
        for document, start, length in zip(document_P, start_P, lengths_P, strict=True)
        for i in range(length - 2)
    ]
    assert covered == [(document, i) for document, num in enumerate(num_tokens) for i in range(num)]
    fill_R = np.bincount(np.array(row_P, np.int64), weights=lengths_P)
    assert (fill_R <= capacity).all()
    assert (fill_R[:-1] >= capacity - 2).all()


@BOTH
@DEFAULT
@given(packable(), st.integers(0, 99))
def test_rows_hold_every_piece_once(implementation, case, seed):
    """Placed and written pieces give back, row by row, the tokens that went in, in the order given."""
    lengths, capacity = case
    lengths_P = np.array(lengths, np.int32) + 2
    row_P, num_rows = rows_of(kernels, lengths_P, capacity + 2)
    order_P = np.empty(len(lengths), np.int32)
    kernels.permutation(np.uint64(seed), order_P)
    first_piece_R1, first_token_R1 = np.zeros(num_rows + 1, np.int64), np.zeros(num_rows + 1, np.int64)
    slot_P, target_P = np.empty(len(lengths), np.int32), np.empty(len(lengths), np.int64)
    implementation.place(order_P, row_P, lengths_P, first_piece_R1, first_token_R1, slot_P, target_P)
    ids_T = np.arange(10, 10 + sum(lengths), dtype=np.uint16)
    begin_P = np.cumsum(lengths_P - 2, dtype=np.int64) - (lengths_P - 2)
    out_S = np.zeros(int(lengths_P.sum()), np.uint16)
    implementation.write_pieces(ids_T, begin_P, lengths_P, target_P, 1, 2, out_S)
    expected = [[] for _ in range(num_rows)]
    num_before = [0] * num_rows
    for piece in order_P.tolist():
        row = row_P[piece]
        assert slot_P[piece] == first_piece_R1[row] + num_before[row]
        num_before[row] += 1
        expected[row] += [1, *ids_T[begin_P[piece] : begin_P[piece] + lengths[piece]].tolist(), 2]
    written = [out_S[first_token_R1[row] : first_token_R1[row + 1]].tolist() for row in range(num_rows)]
    assert written == expected
