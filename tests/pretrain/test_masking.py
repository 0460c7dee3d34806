"""Masks: how many, of what, replaced by what, and from what they follow."""

import math

import pytest
import torch

from pipeline.pretrain.masking import mask_rows, slots_per_row
from pipeline.pretrain.splitmix import fold, signed, splitmix, splitmix_array, splitmix_tensor
from pipeline.pretrain.vocabulary import Vocabulary

VOCAB, ROW, MASK = 200, 64, 4
SPECIAL = 5


def _mask(ids_BS, rows_B=None, **changed):
    ids_V = torch.arange(VOCAB)
    # Of the words' pieces those with an odd id continue the word before them.
    vocabulary = Vocabulary(MASK, ids_V >= SPECIAL, ids_V % 2 == 0, ids_V[SPECIAL:])
    values = {"seed": 1, "step": 7, "mask_rate": 0.3, "whole_word": False, "vocabulary": vocabulary, **changed}
    return mask_rows(ids_BS, torch.arange(len(ids_BS)) if rows_B is None else rows_B, **values)


def _rows(count, seed=0):
    """Rows with [CLS] at 0, [SEP] at 20, padding from 50 on."""
    ids_BS = torch.randint(SPECIAL, VOCAB, (count, ROW), generator=torch.Generator().manual_seed(seed))
    ids_BS[:, 0], ids_BS[:, 20], ids_BS[:, 50:] = 2, 3, 0
    return ids_BS


def _is_masked(masked):
    chosen_BS = torch.zeros(masked.ids_BS.shape)
    return chosen_BS.scatter_add(1, masked.slots_BK, masked.weight_BK)


def test_splitmix_versions_agree():
    """The integer, numpy and torch hashes give the same 64 bits; 0 hashes to the published first output."""
    import numpy as np

    values = [0, 1, 2**63, 2**64 - 1, 123456789]
    expected = [splitmix(value) for value in values]
    assert expected[0] == 0xE220A8397B1DCDAF
    assert splitmix_array(np.array(values, np.uint64)).tolist() == expected
    tensor = torch.tensor([signed(value) for value in values])
    assert splitmix_tensor(tensor).tolist() == [signed(value) for value in expected]
    assert fold(1, 2) != fold(2, 1)


def test_number_of_predictions_is_exact():
    """Each row has round(rate * maskable tokens) predictions, none of a special token, none twice."""
    ids_BS = _rows(50)
    ids_BS[3, 5:] = 0  # four maskable tokens
    ids_BS[4, 1:] = 0  # none
    masked = _mask(ids_BS)
    chosen_BS = _is_masked(masked)
    assert masked.slots_BK.shape == (50, slots_per_row(0.3, ROW))
    assert chosen_BS.max() == 1
    assert chosen_BS[ids_BS < SPECIAL].sum() == 0
    expected = [round(0.3 * 48)] * 50
    expected[3], expected[4] = 1, 0
    assert chosen_BS.sum(1).tolist() == expected
    assert torch.equal(masked.ids_BS[chosen_BS == 0], ids_BS[chosen_BS == 0])
    assert torch.equal(masked.labels_BK, ids_BS.gather(1, masked.slots_BK))


def test_full_row_fills_every_slot():
    """A row of maskable tokens only uses all slots; a shortest row still has one prediction."""
    ids_BS = torch.full((1, ROW), 9)
    assert _mask(ids_BS).weight_BK.min() == 1
    assert _mask(torch.tensor([[2, 9, 3]]), mask_rate=0.1).weight_BK.tolist() == [[1.0]]


def test_mask_is_a_function_of_seed_step_row_position():
    """Neighbours, order and batch size change nothing; seed, step and row change the mask."""
    ids_BS = _rows(20)
    whole = _mask(ids_BS)
    order = torch.tensor([17, 3, 8])
    part = _mask(ids_BS[order], order)
    assert torch.equal(part.ids_BS, whole.ids_BS[order])
    assert torch.equal(part.slots_BK, whole.slots_BK[order])
    for changed in ({"seed": 2}, {"step": 8}, {"rows_B": torch.arange(20) + 1}):
        assert not torch.equal(_is_masked(_mask(ids_BS, **changed)), _is_masked(whole))
    assert torch.equal(_mask(ids_BS).ids_BS, whole.ids_BS)


def test_shares_of_replacement():
    """80% [MASK], 10% random and 10% kept, within five standard deviations; random ids cover the vocabulary evenly."""
    ids_BS = torch.full((4000, ROW), 9)
    masked = _mask(ids_BS)
    inserted = masked.ids_BS.gather(1, masked.slots_BK).flatten()
    total = len(inserted)
    for share, hits in ((0.8, inserted == MASK), (0.1 + 0.1 / 195, inserted == 9)):
        spread = math.sqrt(share * (1 - share) / total)
        assert abs(hits.float().mean().item() - share) < 5 * spread
    random = inserted[(inserted != MASK) & (inserted != 9)]
    counts = torch.bincount(random, minlength=VOCAB).double()
    assert counts[:SPECIAL].sum() == 0
    counts = torch.cat((counts[SPECIAL:9], counts[10:]))
    expected = counts.mean()
    chi_square = ((counts - expected).square() / expected).sum().item()
    # 193 degrees of freedom: mean 193, standard deviation 19.6.
    assert chi_square < 193 + 5 * 19.6


def test_every_position_is_equally_likely():
    """The rate of each position lies within five standard deviations of the mask rate."""
    chosen_BS = _is_masked(_mask(torch.full((4000, ROW), 9)))
    rate = slots_per_row(0.3, ROW) / ROW
    spread = math.sqrt(rate * (1 - rate) / 4000)
    assert (chosen_BS.mean(0) - rate).abs().max().item() < 5 * spread


def _words(ids_BS):
    """The word of each token by a loop: (row, number), None for special tokens."""
    words = []
    for row in ids_BS.tolist():
        number, special_before, here = 0, True, []
        for token in row:
            special = token < SPECIAL
            if special or special_before or token % 2 == 0:
                number += 1
            here.append(None if special else number)
            special_before = special
        words.append(here)
    return words


def test_whole_words_are_all_or_nothing():
    """Every word is masked as a whole or not at all, within the quota, and the quota is missed by less than a word."""
    ids_BS = _rows(300)
    masked = _mask(ids_BS, whole_word=True)
    chosen_BS = _is_masked(masked)
    longest = 0
    for row, words in enumerate(_words(ids_BS)):
        sizes, hits = {}, {}
        for position, word in enumerate(words):
            if word is not None:
                sizes[word] = sizes.get(word, 0) + 1
                hits[word] = hits.get(word, 0) + int(chosen_BS[row, position])
            else:
                assert chosen_BS[row, position] == 0
        assert all(hits[word] in (0, sizes[word]) for word in sizes)
        longest = max(longest, *sizes.values())
        quota = round(0.3 * sum(sizes.values()))
        assert quota - max(sizes.values()) < sum(hits.values()) <= quota
    assert longest > 3
    assert torch.equal(masked.labels_BK, ids_BS.gather(1, masked.slots_BK))
    assert not torch.equal(chosen_BS, _is_masked(_mask(ids_BS)))


def test_slots_ascend():
    """Slots are in ascending order in each row, with their weights."""
    for whole_word in (False, True):
        masked = _mask(_rows(30), whole_word=whole_word)
        assert (masked.slots_BK.diff(dim=1) > 0).all()


@pytest.mark.parametrize("step", [0, -1, 10**12])
def test_any_step_and_row_number(step):
    """Large row numbers and the validation step are hashed like others."""
    masked = _mask(_rows(2), torch.tensor([2**40, 2**40 + 1]), step=step)
    assert masked.weight_BK.sum(1).tolist() == [14.0, 14.0]
    assert not torch.equal(masked.slots_BK[0], masked.slots_BK[1])
