"""Blocks of code points."""

import numpy as np

from transforms.code_points import BLOCK, blocks_in, characters_of


def test_blocks_of_a_text():
    """Each block once, in order; the blocks of surrogates have no characters."""
    text = "z\u4e2da\u4e2d\U0001f600\u0101\U0010ffff"
    assert blocks_in(np.frombuffer(text.encode(), np.uint8)) == [0, 1, 0x4E, 0x1F6, 0x10FF]
    assert blocks_in(np.zeros(0, np.uint8)) == []
    assert (characters_of(0x4E)[0x2D], len(characters_of(0x4E))) == ("\u4e2d", BLOCK)
    assert [len(characters_of(block)) for block in (0xD7, 0xD8, 0xDF, 0xE0)] == [BLOCK, 0, 0, BLOCK]
