"""Slow twin of transforms.kernels.json_lines: the standard parser, asked for what the kernel promises to read."""

import json
import re
from typing import Any, NamedTuple

import orjson

MAX_DEPTH = 64
MAX_NUMBER = 40


class Record(NamedTuple):
    """Text, address and the other fields as orjson writes them."""

    text: str
    url: str | None
    metadata: bytes | None


class _Pairs(list):
    """The members of an object as they stand there."""


def record(line: bytes, text: str = "text", url: str = "url") -> Record | None:
    """Return what a line holds, or None for one that the kernel leaves."""
    try:
        value = json.loads(
            line.decode(), object_pairs_hook=_Pairs, parse_float=_number, parse_int=_number, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, _Pairs) or any(_depth(inner) > MAX_DEPTH for _, inner in value):
        return None
    texts, urls = ([inner for key, inner in value if key == name] for name in (text, url))
    if len(texts) != 1 or not isinstance(texts[0], str):
        return None
    if len(urls) > 1 or not all(inner is None or isinstance(inner, str) for inner in urls):
        return None
    try:
        orjson.dumps(_plain(value))
    except TypeError:  # half a surrogate pair
        return None
    others = _plain(_Pairs((key, inner) for key, inner in value if key not in (text, url)))
    return Record(texts[0], urls[0] if urls else None, orjson.dumps(others) if others else None)


def read_lines(data: bytes, *, max_rows: int, max_bytes: int, max_line_bytes: int) -> list[tuple[str, int, Any]]:
    """Return what becomes of lines: `(row, offset, Record)`, `(left, offset, line)` or `(full, offset, None)`."""
    found: list[tuple[str, int, Any]] = []
    offset = num_rows = num_bytes = 0
    for line in data.removesuffix(b"\n").split(b"\n"):
        is_blank = not line.strip(b" \t\r")
        made = None if is_blank else record(line)
        is_left = len(line) > max_line_bytes or (made is None and not is_blank)
        if num_rows == max_rows or (num_rows and not is_left and num_bytes + len(line) > max_bytes):
            found.append(("full", offset, None))
            num_rows = num_bytes = 0
        if is_left:
            found.append(("left", offset, line))
        elif made is not None:
            found.append(("row", offset, made))
            num_rows += 1
            num_bytes += len(line)
        offset += len(line) + 1
    return found


def _refuse(literal: str) -> None:
    raise ValueError(literal)


def _number(literal: str) -> Any:
    if len(literal) > MAX_NUMBER or re.search("[eE].?[0-9]{3}|[eE][0-9]{3}", literal):
        raise ValueError(literal)
    return orjson.loads(literal)


def _depth(value: Any) -> int:
    if not isinstance(value, list):
        return 0
    inner = [pair[1] for pair in value] if isinstance(value, _Pairs) else value
    return 1 + max(map(_depth, inner), default=0)


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {key: _plain(inner) for key, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
