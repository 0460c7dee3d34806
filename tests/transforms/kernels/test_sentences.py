"""The sentence kernel: what a reader would call sentences, and the twin's on anything."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reference import sentences as twin
from transforms.kernels.sentences import ABBREVIATIONS, abbreviation_table, packed
from transforms.sentences import split_sentences


def kernel_split(text):
    return split_sentences(pa.array([text]))[0].to_pylist()


BOTH = pytest.mark.parametrize("split", [kernel_split, twin.split], ids=["kernel", "twin"])

CASES = {
    "english": ["He came.", " She left!", " Why?", ' "Because."', " (He said so.)", " Fine."],
    "abbreviations": ["Dr. Smith of the U.S. met J. R. Hartley, e.g. Prof. No, at nine.", " Then he left."],
    "lower case goes on": ['"Really?" he asked... and waited.', " She did not."],
    "numbers": ["Am 3. Oktober kamen 3.5 Millionen.", " Es war 1990.", " Danach."],
    "closers": ["\u201cGo.\u201d", " \u201cStay!\u201d", " (Both.)", " He went."],
    "chinese": [
        "\u4ed6\u6765\u4e86\u3002", "\u5979\u8bf4\uff1a\u201c\u8d70\uff01\u201d", "\u4e3a\u4ec0\u4e48\uff1f\uff01",
        "\u597d\u7684",
    ],
    "hindi": ["\u0930\u093e\u092e \u0906\u092f\u093e\u0964", " \u0938\u0940\u0924\u093e \u0917\u0908\u0964"],
    "arabic": ["\u0647\u0644 \u062c\u0627\u0621\u061f", " \u0646\u0639\u0645."],
    "russian": [
        "\u041f\u0443\u0448\u043a\u0438\u043d \u0410. \u0421. \u043f\u0438\u0441\u0430\u043b.",
        " \u042f \u0447\u0438\u0442\u0430\u043b.",
    ],
    "lines": ["A heading", "\n\nThe text goes", "\non.", "\u2028Again"],
    "white space": ["  \n One.  "],
    "no sentence": ["..."],
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("sentences", CASES.values(), ids=CASES)
def test_sentences_as_a_reader_sees_them(split, sentences):
    """Terminals and closers, abbreviations and initials, ordinals, scripts that write no space, line ends."""
    assert split("".join(sentences)) == sentences


PARTS = st.sampled_from(
    [
        *"aZ\u00e4\u042f\u4e2d9 \n.!?\u3002\uff01\u2026\"')\u201d(\x85\u0964-",
        " ",
        "Dr",
        "e.g",
        "U.S",
        "usw",
        "abbrev",
        "12",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(PARTS, max_size=14).map("".join) | st.text(max_size=12), max_size=4))
@example(["\u3002Z. Z"])  # an initial at the beginning of a sentence that no white space precedes
def test_kernel_equals_twin_and_tiles(texts):
    """The sentences are those of the twin, in every text of a batch, and put together they are the text."""
    array = pa.array(["skipped", *texts], pa.string()).slice(1)
    sentences, first_N1 = split_sentences(array)
    sentences.validate(full=True)
    found = [sentences.to_pylist()[start:stop] for start, stop in pairwise(first_N1)]
    assert found == [twin.split(text) for text in texts]
    assert ["".join(parts) for parts in found] == texts


def test_abbreviations_fit_their_table():
    """A word of more than 8 bytes would never be found."""
    assert all(0 < len(word) <= 8 and word.isascii() and word == word.lower() for word in ABBREVIATIONS)
    assert len(np.unique(abbreviation_table())) == len(ABBREVIATIONS)
    assert packed("dr") == ord("d") << 8 | ord("r")
