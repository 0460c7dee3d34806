"""The JSONL reader as one would explain it: the whole file in memory, one line after the other, the standard parser."""

import json
from typing import Any


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
