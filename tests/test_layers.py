"""The house: kernels < transforms < pipeline, the trainer without Beam, a command line that answers at once."""

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = sorted(path for top in ("transforms", "pipeline") for path in (ROOT / top).rglob("*.py"))

# package -> imports that it must not contain, directly or anywhere in its files
FORBIDDEN = {
    "transforms/kernels": ("apache_beam", "torch", "pipeline", "transforms.readers"),
    "transforms/readers": ("apache_beam", "torch", "pipeline"),
    "transforms": ("torch", "pipeline"),
    "pipeline/pretrain": ("apache_beam", "datasets", "pydantic", "transforms.read", "transforms.write"),
}
# Modules of `transforms` that kernels may use: none but kernels.
KERNELS_MAY_IMPORT = ("transforms.kernels",)


def imported_modules(path: Path) -> set[str]:
    """Return the full names imported anywhere in a file, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def offences(package: str, forbidden: tuple[str, ...], files: list[Path]) -> list[str]:
    """Return `file imports name` for each forbidden import."""
    found = []
    for path in files:
        if not path.is_relative_to(ROOT / package):
            continue
        for name in imported_modules(path):
            if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
            in_kernels = package == "transforms/kernels" and name.startswith("transforms")
            if in_kernels and not name.startswith(KERNELS_MAY_IMPORT):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_layers(package):
    """No file imports upward or sideways."""
    assert offences(package, FORBIDDEN[package], SOURCES) == []


def test_the_rule_sees_an_offence():
    """The rule itself can fail: a pipeline file would break the kernels' rule."""
    path = ROOT / "pipeline" / "engine.py"
    assert offences("pipeline", ("apache_beam",), [path]) != []


@pytest.mark.parametrize("top", ["transforms", "pipeline"])
def test_packages_hold_only_a_docstring(top):
    """`__init__.py` must not import: importing a package costs nothing."""
    for path in (ROOT / top).rglob("__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_sources_are_ascii_and_only_the_command_line_prints():
    """Other characters are escaped in code; `print` belongs to the command line."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert text.isascii(), path
        may_print = path.name in ("cli.py", "commands.py", "summary.py")
        assert may_print or not re.search(r"^\s*print\(", text, re.MULTILINE), path


def test_no_source_names_a_forbidden_runner():
    """The name DirectRunner tries to download Prism; only the refusal of it may spell it."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8").replace("BundleBasedDirectRunner", "")
        assert "TestPipeline" not in text, path
        assert "DirectRunner" not in text or path.name == "run.py", path


def test_the_trainer_loads_no_beam():
    """Importing the trainer in a fresh process loads neither Beam nor datasets nor pydantic."""
    code = (
        "import sys, pipeline.pretrain.train, pipeline.pretrain.shard_stream, pipeline.pretrain.packed_collator; "
        "print([name for name in ('apache_beam', 'datasets', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_in_half_a_second():
    """The best of five, because the machine is shared; imports are what would cost more."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - started)
    assert "COMMAND" in done.stdout
    assert min(seconds) < 0.5
