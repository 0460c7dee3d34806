"""transforms.pii: batches in, batches out."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.transforms.batches import batch_of
from tests.transforms.kernels.test_pii import TEXTS
from transforms.kernels.pii import CARD, EMAIL, IBAN, IPV4, IPV6, PHONE
from transforms.pii import KINDS, TOKENS, MaskPii, mask_pii, personal_data
from transforms.schema import IN_FLIGHT, edit_columns

EVERYTHING = (
    "Write to bob@example.org, call +49 30 1234567 or ask 8.8.8.8 and 2a00:1450::1; pay 4111 1111 1111 1111 "
    "or DE89 3704 0044 0532 0130 00."
)


def masked(texts, kinds=tuple(KINDS)):
    return mask_pii(batch_of(texts), kinds=kinds).column("text").to_pylist()


def test_everything_is_masked_and_counted():
    """One finding of each kind is replaced by one of its tokens, and counted."""
    out = mask_pii(batch_of([EVERYTHING, "nothing here"]), kinds=tuple(KINDS))
    [text, nothing] = out.column("text").to_pylist()
    edits = {name: column.to_pylist() for name, column in edit_columns(out).items()}
    expected = {"pii.email": 1, "pii.ip": 2, "pii.phone": 1, "pii.card": 1, "pii.iban": 1}
    assert edits == {name: [count, 0] for name, count in expected.items()}
    assert nothing == "nothing here"
    for kind in (EMAIL, IPV4, IPV6, PHONE, CARD, IBAN):
        assert any(token in text for token in TOKENS[kind])
    assert "bob" not in text
    assert text.startswith("Write to ")
    assert text.endswith("0000.")
    assert out.select(IN_FLIGHT.names).schema == IN_FLIGHT


def test_only_the_kinds_asked_for():
    """What is not asked for stays."""
    assert masked([EVERYTHING], ("phone",)) == [EVERYTHING.replace("+49 30 1234567", TOKENS[PHONE][0])]
    assert masked([EVERYTHING], ()) == [EVERYTHING]


def test_choice_depends_on_the_finding_alone():
    """Copies of a text stay copies, in any batch and at any place; all replacements occur; each replaces itself."""
    texts = [f"{i} a{i}@b.de b@c.de {i + 8}.8.8.8" for i in range(60)]
    whole = masked(texts + texts[::-1], ("email", "ip"))
    assert whole[60:] == whole[:60][::-1]
    assert [masked([text], ("email", "ip"))[0] for text in texts[:9]] == whole[:9]
    assert len({text.split()[2] for text in whole}) == 1
    assert all(token in " ".join(whole) for kind in (EMAIL, IPV4) for token in TOKENS[kind])
    for kind in (EMAIL, IPV4):
        assert masked(list(TOKENS[kind]), ("email", "ip")) == list(TOKENS[kind])


TOKEN = "|".join(map(re.escape, TOKENS[EMAIL]))


@given(st.lists(TEXTS, max_size=3))
@settings(max_examples=200, deadline=None)
def test_masking_twice_is_masking_once(texts):
    """No address is left to find but the replacements, which are replaced by themselves unless something touches them.

    Of ab@c.de!ab@c.de both are replaced, and the two replacements together read as other addresses.
    """
    once = masked(texts, ("email",))
    assume(not re.search(rf"\S(?:{TOKEN})|(?:{TOKEN})\S", " ".join(once)))
    assert masked(once, ("email",)) == once


def test_many_findings():
    """More findings than there is room for at first are all replaced."""
    [text] = masked(["8.8.8.8 " * 20_000], ("ip",))
    assert "8.8.8.8 8.8.8.8" not in text
    assert text.count(" ") == 20_000


def test_what_is_masked_is_no_personal_data_any_more():
    """Findings are told with their row; a replacement is none, also where a number behind it makes it longer."""
    found = personal_data(batch_of(["nothing", EVERYTHING]).column("text"), kinds=("phone", "email"))
    assert found == [(1, "bob@example.org"), (1, "+49 30 1234567")]
    [text] = masked(["Ross McFluff: 834.345.1254 155 Elm Street"])
    assert text.endswith(f"{TOKENS[PHONE][0]} 155 Elm Street")
    texts = batch_of([text, *masked([EVERYTHING]), f"{TOKENS[PHONE][0]} 155, {EVERYTHING}"]).column("text")
    assert {row for row, _ in personal_data(texts, kinds=tuple(KINDS))} == {2}


def test_unknown_kind_is_refused():
    """A misspelt kind is a ValueError with the nearest one, also at construction."""
    with pytest.raises(ValueError, match="'e-mail' is not known; the nearest is 'email'"):
        mask_pii(batch_of(["a"]), kinds=["e-mail"])
    with pytest.raises(ValueError, match="'phones'"):
        MaskPii(kinds=("phones",))


def test_rejected_rows_stay():
    """A row with a rule keeps its text."""
    out = mask_pii(batch_of([EVERYTHING, "a@b.de"], ["language", None]), kinds=tuple(KINDS))
    assert out.column("text")[0].as_py() == EVERYTHING
    assert out.column("text")[1].as_py() in TOKENS[EMAIL]


def test_the_step_does_what_the_function_does():
    """MaskPii masks and counts its kinds alone."""
    out = MaskPii(kinds=("email", "ip"))(batch_of([EVERYTHING]))
    assert out == mask_pii(batch_of([EVERYTHING]), kinds=("email", "ip"))
    assert "bob" not in out.column("text")[0].as_py()
    assert out.column("edits.pii.ip").to_pylist() == [2]
