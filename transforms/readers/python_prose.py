"""The prose that every Python environment carries: a corpus that needs no download.

Package descriptions, licences, documentation files, docstrings, and the help topics of the standard library. Tables
of numbers, word lists and everything under test and data folders are left out. An environment with Beam, torch and
datasets (148 packages) gave 6.0 MB in 852 documents, 334 of them licences, and its standard library 1.4 MB in 255.
"""

import ast
import email.parser
import email.policy
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath

import pyarrow as pa

from transforms.readers.plain_text import whole_text
from transforms.readers.rows import MAX_RECORD_BYTES, Rows, json_bytes, readable_path
from transforms.readers.source import Source
from transforms.unit import Slice

_MAX_FILE_BYTES = 256 << 10  # a larger one is a table
_MIN_MODULE_BYTES, _MAX_MODULE_BYTES = 8 << 10, 64 << 10
_MODULES_PER_PACKAGE = 4  # the longest ones: torch has 2,500 modules and would be half of the corpus
_MIN_DOCSTRING_CHARS = 200  # of a module's docstrings together; below that they are one-liners
_LICENCE = re.compile(r"(un)?licen[cs]e|copying|notice|copyright", re.IGNORECASE)
_DOCUMENTATION = (".rst", ".md", ".txt")
_FOLDERS_LEFT_OUT = re.compile(
    r"tests?|testing|.*_tests?|tests?_.*|data|(?!pydoc).*[-_]data|datasets|fixtures?|lang|locale|site-packages|dist-packages"
    r"|__pycache__|\..*",
    re.IGNORECASE,
)
_FILES_LEFT_OUT = re.compile(
    r"top_level|entry_points|sources|requires|dependency_links|namespace_packages|cmakelists|.*requirements.*|.*certs?"
    r"|.*words?|.*subwords|tlds.*|leap-seconds|vendor|not-zip-safe|zip-safe",
    re.IGNORECASE,
)


def list_prose(source: Source) -> list[str]:
    """Return the files under a directory that hold prose, sorted by path.

    Raises:
        ValueError: no such directory, or nothing in it.
    """
    root = Path(source.path)
    if not root.is_dir():
        raise ValueError(f"{root} is no directory; the python format reads directories")
    chosen: list[str] = []
    modules: dict[str, list[tuple[int, str]]] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not _FOLDERS_LEFT_OUT.fullmatch(name)]
        for name in files:
            path = f"{folder}/{name}"
            kind = _kind(path)
            if kind is None:
                continue
            size = Path(path).stat().st_size
            if kind == "docstrings":
                if _MIN_MODULE_BYTES <= size <= _MAX_MODULE_BYTES:
                    package = PurePath(path).relative_to(root).parts[0]
                    modules.setdefault(package, []).append((-size, path))
            elif size <= _MAX_FILE_BYTES or kind == "topics":
                chosen.append(path)
    for candidates in modules.values():
        chosen += [path for _, path in sorted(candidates)[:_MODULES_PER_PACKAGE]]
    if not chosen:
        raise ValueError(f"no prose under {root}")
    return sorted(chosen)


def _kind(path: str) -> str | None:
    """Say what prose a file holds, by its name, or None."""
    parts = PurePath(path)
    if parts.name == "METADATA" and parts.parent.suffix == ".dist-info":
        return "description"
    if parts.name == "topics.py" and parts.parent.name == "pydoc_data":
        return "topics"
    if parts.suffix == ".py":
        return "docstrings"
    if _LICENCE.search(parts.stem) and parts.suffix.lower() in ("", *_DOCUMENTATION):
        return "licence"
    if parts.suffix.lower() in _DOCUMENTATION and not _FILES_LEFT_OUT.fullmatch(parts.stem):
        return "documentation"
    return None


def read_python(source: Source, part: Slice) -> Iterator[pa.RecordBatch]:
    """Yield the prose of one file as a batch of schema ROWS: one record, or one for each help topic.

    `metadata` holds `kind`: description (with the name and version of the package), licence, documentation, docstrings
    or topic. Rules of broken records: those of plain text, `bad_python` (value: its length) for a module that this
    Python cannot parse, `no_prose` (value: characters; threshold) for a description or a module without.

    Raises:
        OSError: the file is gone or unreadable.
    """
    del source  # has no say: a file's name decides
    rows = Rows()
    text = whole_text(part.path, rows, max_bytes=MAX_RECORD_BYTES)
    if text is not None:
        kind = _kind(part.path)
        location = f"{readable_path(part.path)}#0"
        if kind == "description":
            _add_description(rows, text, location)
        elif kind == "topics":
            _add_topics(rows, text, readable_path(part.path))
        elif kind == "docstrings":
            _add_docstrings(rows, text, location)
        else:
            rows.add(text, metadata=json_bytes({"kind": kind}), location=location, num_bytes=len(text))
    yield rows.take()


def _add_description(rows: Rows, text: str, location: str) -> None:
    package = email.parser.Parser(policy=email.policy.compat32).parsestr(text)
    description = package.get_payload()
    if not isinstance(description, str) or not description.strip():
        # Metadata before version 2.1 has it in a header, its lines indented by eight spaces or a bar.
        description = re.sub(r"\n(?: {8}|       \|)", "\n", str(package.get("Description", "")))
    if not description.strip():
        rows.add_broken("no_prose", location=location, value=0, threshold=1)
        return
    metadata = json_bytes({"kind": "description", "package": package.get("Name"), "version": package.get("Version")})
    url = package.get("Home-page")
    rows.add(description, url=url, metadata=metadata, location=location, num_bytes=len(description))


def _add_topics(rows: Rows, text: str, path: str) -> None:
    metadata = json_bytes({"kind": "topic"})
    try:
        values = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign | ast.AnnAssign)]
        topics = {name: topic for value in values if value for name, topic in ast.literal_eval(value).items()}
    except (SyntaxError, ValueError, AttributeError, RecursionError):
        rows.add_broken("bad_python", location=f"{path}#0", value=len(text))
        return
    for name, topic in topics.items():
        rows.add(topic, metadata=metadata, location=f"{path}#{name}", num_bytes=len(topic))


def _add_docstrings(rows: Rows, text: str, location: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's modules
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        rows.add_broken("bad_python", location=location, value=len(text))
        return
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, described))
    prose = "\n\n".join(docstring for docstring in docstrings if docstring)
    if len(prose) < _MIN_DOCSTRING_CHARS:
        rows.add_broken("no_prose", location=location, value=len(prose), threshold=_MIN_DOCSTRING_CHARS)
        return
    rows.add(prose, metadata=json_bytes({"kind": "docstrings"}), location=location, num_bytes=len(prose))
