"""transforms.readers.source: what a config may say of a source."""

import dataclasses

import pydantic
import pytest

from tests.transforms.readers.reading import source_of
from transforms.readers.source import Source


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"form": "jsnol"}, "unknown format 'jsnol' of source 'test'; did you mean 'jsonl'"),
        ({"form": "12"}, "choose from jsonl"),
        ({"path": ""}, "needs a path"),
        ({"name": ""}, "needs a name"),
        ({"text": ""}, "needs a text"),
        ({"weight": 0.0}, "weight of source 'test' is 0.0"),
        ({"weight": float("nan")}, "weight of source 'test' is nan"),
        ({"url": "text"}, "both the field 'text'"),
        ({"split": "train"}, "split of source 'test' is only for format: datasets, not jsonl"),
    ],
)
def test_mistakes_are_one_line(fields, message):
    """A value that cannot be meant is a ValueError that names it."""
    given = {"name": "test", "format": fields.pop("form", "jsonl"), "path": "x", **fields}
    with pytest.raises(ValueError, match=message) as error:
        Source(**given)
    assert "\n" not in str(error.value)


def test_config_refuses_unknown_keys():
    """The class is the section of the config: an unknown key is refused."""
    adapter = pydantic.TypeAdapter(Source)
    assert adapter.validate_python({"name": "test", "format": "jsonl", "path": "x"}) == source_of("x")
    with pytest.raises(pydantic.ValidationError, match="pth"):
        adapter.validate_python({"name": "test", "format": "jsonl", "path": "x", "pth": "y"})


def test_source_is_frozen():
    """A source is a value."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        source_of("x").path = "y"
