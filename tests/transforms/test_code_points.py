"""Code points of a text."""

import numpy as np

from transforms.code_points import code_points


def test_code_points_of_a_text():
    """Characters of every width, damage as U+FFFD, and nothing."""
    text = "z\u4e2da\u4e2d\U0001f600\u0101\U0010ffff"
    assert code_points(np.frombuffer(text.encode(), np.uint8)).tolist() == list(map(ord, text))
    assert code_points(np.frombuffer(b"a\xffb", np.uint8)).tolist() == [ord("a"), 0xFFFD, ord("b")]
    assert code_points(np.zeros(0, np.uint8)).tolist() == []
