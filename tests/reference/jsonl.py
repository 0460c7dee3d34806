"""The JSONL reader as one would explain it: the whole file in memory, one line after the other.

`records` asks the standard parser what the lines are; `batches` says with orjson which rows they become.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

EXCERPT_BYTES = 256


class Row(NamedTuple):
    """A row of the schema ROWS."""

    text: str
    url: str | None
    metadata: str | None
    location: str
    rule: str | None = None
    value: float | None = None
    threshold: float | None = None


def batches(
    data: bytes,
    path: str,
    *,
    start: int = 0,
    stop: int | None = None,
    wanted: Callable[[int], bool] = lambda _: True,
    max_record_bytes: int,
    max_rows: int,
    max_bytes: int,
) -> list[list[Row]]:
    """Return the rows of the lines that start in a range, batch by batch."""
    found: list[list[Row]] = [[]]
    offset = num_bytes = 0
    empty = True
    for line in data.removesuffix(b"\n").split(b"\n") if data else []:
        location, size = f"{path}#{offset}", len(line)
        if start <= offset < (len(data) if stop is None else stop):
            if not wanted(offset):
                empty = False
            else:
                is_long = size > max_record_bytes
                if len(found[-1]) == max_rows or (found[-1] and num_bytes + (0 if is_long else size) > max_bytes):
                    found.append([])
                    num_bytes = 0
                if is_long:
                    row: Row | None = _broken("record_too_large", line, location, max_record_bytes)
                else:
                    row = _row(line, location)
                if row:
                    empty = False
                    found[-1].append(row)
                    num_bytes += len(row.text) if row.rule else size
        offset += size + 1
    if empty and start == 0 and (stop is None or stop >= len(data)):
        return [[Row("", None, None, f"{path}#0", "empty_file", 0.0)]]
    return [rows for rows in found if rows]


def _broken(rule: str, line: bytes, location: str, threshold: float | None = None) -> Row:
    return Row(line[:EXCERPT_BYTES].decode("utf-8", "replace"), None, None, location, rule, len(line), threshold)


def _row(line: bytes, location: str) -> Row | None:
    try:
        fields = orjson.loads(line)
    except ValueError:
        if not line.strip():
            return None
        try:
            fields = _second_opinion(line)
        except UnicodeError:
            return _broken("bad_utf8", line, location)
        except (ValueError, RecursionError):
            return _broken("bad_json", line, location)
    if not isinstance(fields, dict):
        return _broken("bad_json", line, location)
    text = fields.pop("text", None)
    if not isinstance(text, str):
        return _broken("missing_text" if text is None else "text_not_string", line, location)
    url = fields.pop("url", None)
    if url is not None and not isinstance(url, str):
        fields["url"], url = url, None
    return Row(text, url, _written(fields) if fields else None, location)


def _second_opinion(line: bytes) -> Any:
    fields = json.loads(line.decode("utf-8-sig"), parse_constant=lambda _: None)
    if isinstance(fields, dict):
        if isinstance(text := fields.get("text"), str):
            text.encode()
        if isinstance(url := fields.get("url"), str):
            fields["url"] = url.encode("utf-8", "replace").decode()
    return fields


def _written(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return json.dumps(fields, default=str, ensure_ascii=False).encode("utf-8", "replace").decode()


def records(data: bytes) -> list[tuple[int, str | None, str | None]]:
    """Return `(offset, text, rule)` of every record in `data`, one of the last two None."""
    found = []
    offset = 0
    for line in data.split(b"\n"):
        if line.strip():
            found.append((offset, *_record(line)))
        offset += len(line) + 1
    return found


def _record(line: bytes) -> tuple[str | None, str | None]:
    try:
        decoded = line.decode()
    except UnicodeDecodeError:
        return None, "bad_utf8"
    try:
        value: Any = json.loads(decoded.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None, "bad_json"
    if not isinstance(value, dict):
        return None, "bad_json"
    text = value.get("text")
    if text is None:
        return None, "missing_text"
    if not isinstance(text, str):
        return None, "text_not_string"
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        return None, "bad_utf8"
    return text, None
