"""Strangers' text on a terminal, in JSON and in Markdown: it stays text."""

import json

from pipeline.escape import markdown, printable_json
from pipeline.summary import _training

HIDDEN = "\x1b[31m \x7f \x9b31m \u202eevil \u2028 \U000e0041"


def test_nothing_becomes_markdown():
    """No emphasis, and no link of what GitHub finds by itself: addresses, www, e-mail, also behind entities."""
    shown = markdown("_a_ ~~b~~ www.evil.example WWW.evil.example http://evil.example someone@evil.example")
    assert not set("_~:@") & set(shown)
    assert "www." not in shown.lower()
    assert "www&#46;evil" in shown
    assert "http&#58;//evil" in shown
    assert "someone&#64;&#8288;evil" in shown


def test_json_for_a_terminal_is_json():
    """Hidden characters are escapes, joiners and letters are not, and what is read back is what was written."""
    value = {HIDDEN: ['caf\u00e9 \u200d "\\', 1.5, None]}
    shown = printable_json(value)
    assert json.loads(shown) == value
    assert "\\u009b31m" in shown
    assert "caf\u00e9 \u200d" in shown
    assert not {"\x1b", "\x7f", "\x9b", "\u202e", "\u2028", "\U000e0041"} & set(shown)
    assert "\n" not in printable_json(["a\nb"])
    assert printable_json({"t\u0159\u00edda": ["a\nb"]}, indent=1) == '{\n "t\u0159\u00edda": [\n  "a\\nb"\n ]\n}'


def test_what_a_model_says_is_shown_as_text():
    """Its tokens and texts come from documents."""
    guess = {"text": f"a {HIDDEN} [MASK]", "predictions": [{"token": "\u202e"}]}
    losses = {"first_loss": 1, "last_loss": 1, "steps": 1, "validation_loss": None}
    shown = "".join(_training({**losses, "first_loss": None, "last_loss": None, "fill_mask": [guess]}))
    assert shown.startswith("pretrain  1 steps")
    shown = "".join(_training({**losses, "fill_mask": [guess]}))
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
