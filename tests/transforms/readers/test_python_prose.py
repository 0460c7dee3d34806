"""transforms.readers.python_prose: the prose of a Python environment, on a small one made here."""

import json

import pytest

from tests.transforms.readers.reading import read, source_of
from transforms.readers.listing import list_files
from transforms.readers.python_prose import list_prose

PROSE = " ".join(["This is a sentence of documentation that explains what the module is for."] * 5)
MODULE = f'''"""{PROSE}"""
import os
X = """not a docstring"""


class A:
    """The class.

        It is indented.
    """

    async def f(self):
        "One line."
{"# filler" * 2000}
'''


@pytest.fixture
def site(tmp_path):
    """A site-packages of one package with everything in it."""
    root = tmp_path / "site-packages"
    files = {
        "pkg-1.0.dist-info/METADATA": f"Name: pkg\nVersion: 1.0\nHome-page: http://h\n\n# pkg\n\n{PROSE}\n",
        "pkg-1.0.dist-info/licenses/LICENSE": "Permission is granted\n",
        "pkg-1.0.dist-info/top_level.txt": "pkg\n",
        "pkg-1.0.dist-info/RECORD": "pkg/__init__.py,,\n",
        "old-0.1.dist-info/METADATA": "Name: old\nVersion: 0.1\nDescription: First line\n        second line\n",
        "none-0.1.dist-info/METADATA": "Name: none\nVersion: 0.1\n",
        "pkg/__init__.py": MODULE,
        "pkg/short.py": '"""Too small a file."""\n',
        "pkg/silent.py": "x = 1\n" * 3000,
        "pkg/broken.py": "def (:\n" * 3000,
        "pkg/docs/guide.rst": "Guide\n=====\n",
        "pkg/docs/table.txt": "1 2 3\n" * 100_000,
        "pkg/docs/stopwords.txt": "a\nthe\n",
        "pkg/CMakeLists.txt": "project(x)\n",
        "pkg/data/readme.md": "a word list\n",
        "pkg/tests/notes.md": "a test\n",
        "pkg/tests/test_x.py": MODULE,
        "pkg/NOTICE.md": "Copyright\n",
        "pydoc_data/topics.py": "topics = {'assert': 'The assert statement', 'with': r'''The with\nstatement'''}\n",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_what_is_listed(site):
    """Prose is listed, sorted; control files, tables, word lists, tests and data are not."""
    assert [path.removeprefix(f"{site}/") for path in list_prose(source_of(site, "python"))] == [
        "none-0.1.dist-info/METADATA",
        "old-0.1.dist-info/METADATA",
        "pkg-1.0.dist-info/METADATA",
        "pkg-1.0.dist-info/licenses/LICENSE",
        "pkg/NOTICE.md",
        "pkg/__init__.py",
        "pkg/broken.py",
        "pkg/docs/guide.rst",
        "pkg/silent.py",
        "pydoc_data/topics.py",
    ]
    assert all(entry.etag and entry.size for entry in list_files(source_of(site, "python")))


def test_what_is_read(site):
    """Descriptions, licences, documentation, docstrings and topics arrive as documents, with their kind."""
    rows = {row["location"].removeprefix(f"{site}/"): row for row in read(site, "python")}
    assert rows["pkg-1.0.dist-info/METADATA#0"]["text"] == f"# pkg\n\n{PROSE}\n"
    assert rows["pkg-1.0.dist-info/METADATA#0"]["url"] == "http://h"
    assert json.loads(rows["pkg-1.0.dist-info/METADATA#0"]["metadata"]) == {
        "kind": "description", "package": "pkg", "version": "1.0",
    }  # fmt: skip
    assert rows["old-0.1.dist-info/METADATA#0"]["text"] == "First line\nsecond line"
    assert rows["pkg/__init__.py#0"]["text"] == f"{PROSE}\n\nThe class.\n\nIt is indented.\n\nOne line."
    assert rows["pydoc_data/topics.py#assert"]["text"] == "The assert statement"
    assert rows["pydoc_data/topics.py#with"]["text"] == "The with\nstatement"
    kinds = {name: json.loads(row["metadata"])["kind"] for name, row in rows.items() if not row["rule"]}
    assert kinds["pkg/NOTICE.md#0"] == kinds["pkg-1.0.dist-info/licenses/LICENSE#0"] == "licence"
    assert kinds["pkg/docs/guide.rst#0"] == "documentation"
    assert {name: row["rule"] for name, row in rows.items() if row["rule"]} == {
        "none-0.1.dist-info/METADATA#0": "no_prose",
        "pkg/broken.py#0": "bad_python",
        "pkg/silent.py#0": "no_prose",
    }


def test_a_package_gives_few_modules(site):
    """Of a package with many modules only the longest four are read."""
    for number in range(10):
        (site / "pkg" / f"m{number}.py").write_text(MODULE + "#" * number)
    modules = [path for path in list_prose(source_of(site, "python")) if path.endswith(".py") and "/pkg/" in path]
    assert [path.rsplit("/", 1)[1] for path in modules] == ["broken.py", "m8.py", "m9.py", "silent.py"]


def test_mistakes_are_one_line(tmp_path):
    """No directory and a directory without prose are a ValueError each."""
    with pytest.raises(ValueError, match="is no directory"):
        list_files(source_of(tmp_path / "gone", "python"))
    with pytest.raises(ValueError, match="no prose under"):
        list_files(source_of(tmp_path, "python"))
