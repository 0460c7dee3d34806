"""The reference of all configuration keys as Markdown, made from what validates them."""

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline.config import Config
from pipeline.sections import members


class Key(NamedTuple):
    """One key of a section."""

    name: str
    annotation: Any
    limits: str
    default: Any  # `...` if it must be given
    meaning: str


def reference() -> str:
    """Return the reference: a table for each section, in the order in which a configuration has them."""
    lines = ["# Configuration keys", "", "Written by `gristmill schema --markdown`; a test compares.", ""]
    for title, section in _sections("", Config):
        summary = (section.__doc__ or "").split("\n\n")[0]
        lines += [f"## {title}", "", " ".join(summary.split()), "", "| key | values | default | |", "|---|---|---|---|"]
        for key in _keys(section):
            values = " ".join(filter(None, (_values(key.annotation), key.limits)))
            default = "" if key.default is ... else _shown(key.default)
            lines.append(f"| `{key.name}` | {values} | {default} | {key.meaning} |".replace("|  |", "| |"))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _sections(prefix: str, section: Any) -> Iterator[tuple[str, Any]]:
    yield f"`{prefix}`" if prefix else "The run", section
    for key in _keys(section):
        many = "[]" if _is_many(key.annotation) else ""
        for member in members(key.annotation):
            if _is_section(member):
                name = f"{prefix}.{key.name}" if prefix else key.name
                if not name.startswith("dedup.decontaminate."):  # sources again
                    yield from _sections(name + many, member)


def _is_section(member: Any) -> bool:
    return is_dataclass(member) or (isinstance(member, type) and issubclass(member, BaseModel))


def _is_many(annotation: Any) -> bool:
    if typing.get_origin(annotation) is Annotated:
        return _is_many(typing.get_args(annotation)[0])
    return typing.get_origin(annotation) is tuple


def _keys(section: Any) -> Iterator[Key]:
    if not issubclass(section, BaseModel):
        told = dict(re.findall(r"^        (\w+): (.*(?:\n            .*)*)", section.__doc__, re.MULTILINE))
        hints = typing.get_type_hints(section)
        for entry in fields(section):
            default = ... if entry.default is MISSING else entry.default
            yield Key(entry.name, hints[entry.name], "", default, _cell(told.get(entry.name, "")))
        return
    for name, field in section.model_fields.items():
        default = ... if field.default is PydanticUndefined else field.default
        limits = _limits([*field.metadata, *_inner_limits(field.annotation)])
        yield Key(name, field.annotation, limits, default, _cell(field.description or ""))


def _cell(text: str) -> str:
    joined = " ".join(text.split()).replace("|", "\\|")
    return joined[:1].upper() + joined[1:]


def _inner_limits(annotation: Any) -> list[Any]:
    """Return the limits of `Annotated[...] | None`, which pydantic leaves in place."""
    found: list[Any] = []
    for argument in typing.get_args(annotation):
        if typing.get_origin(argument) is Annotated:
            for item in argument.__metadata__:
                found += getattr(item, "metadata", [item])
    return found


def _limits(metadata: list[Any]) -> str:
    signs = {Ge: "&ge; {}", Gt: "&gt; {}", Le: "&le; {}", Lt: "&lt; {}"}
    found = [
        signs[type(item)].format(next(iter(_fields_of(item).values()))) for item in metadata if type(item) in signs
    ]
    return ", ".join(found)


def _fields_of(limit: Any) -> dict[str, Any]:
    """Return the fields of a limit of annotated_types, which has slots."""
    return {entry.name: getattr(limit, entry.name) for entry in fields(limit)}


def _values(annotation: Any) -> str:
    """Return what a key may be, in words of YAML."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _values(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_values(arguments[0])}"
    if origin is dict:
        return f"{_values(arguments[1])} by name"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_values(argument) for argument in arguments))
    if _is_section(annotation):
        return "section"
    names = {type(None): "null", bool: "true, false", int: "integer", float: "number", str: "text", Any: "anything"}
    return names[annotation]


def _shown(default: Any) -> str:
    if _is_section(type(default)):
        return "its defaults"
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    if default in ("", (), {}):
        return "none"
    return f"`{list(default) if isinstance(default, tuple) else default}`"
