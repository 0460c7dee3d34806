"""The documentation: README's tree is the tree, its commands exist, its configuration is valid."""

import ast
import re
import shlex
import tomllib

import pytest
import yaml

from pipeline.cli import _parser, main
from pipeline.config import Config
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
TOP = {
    "configs/": "one YAML describes one run",
    "tests/": "mirrors the source; reference/ holds slow twins of kernels, bench/ the measurements",
}


def tree() -> str:
    """Return the tree of the sources, each file with the first line of its docstring."""
    lines = []
    for top in ("transforms", "pipeline"):
        for directory in [ROOT / top, *sorted(path for path in (ROOT / top).rglob("*") if path.is_dir())]:
            files = sorted(directory.glob("*.py"))
            if not files:
                continue
            depth = len(directory.relative_to(ROOT).parts) - 1
            for path in files:
                text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
                if path.name == "__init__.py":
                    lines.append(f"{'  ' * depth}{directory.name + '/':<{24 - 2 * depth}}{text}")
                else:
                    lines.append(f"{'  ' * (depth + 1)}{path.name:<{22 - 2 * depth}}{text}")
    lines += [f"{name:<24}{text}" for name, text in TOP.items()]
    return "\n".join(lines)


def block(heading: str, language: str = "") -> str:
    """Return the first fenced block after a heading of README."""
    return re.search(rf"## {re.escape(heading)}\n.*?```{language}\n(.*?)```", README, re.DOTALL)[1]


def test_the_tree_in_readme_is_the_tree():
    """A file that is added, renamed or given another first line is told here; paste what the test prints."""
    assert block("The tree").strip() == tree(), f"\n{tree()}"


def commands() -> list[str]:
    return [
        line.split("#")[0].strip()
        for fence in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
        for line in fence.replace("\\\n", " ").splitlines()
        if line.startswith("gristmill ")
    ]


@pytest.mark.parametrize("command", commands())
def test_commands_in_readme_exist(command):
    """Every command line parses, and the files that it names are there."""
    words = shlex.split(command.split(">")[0].split(" -- ")[0])[1:]
    options = _parser().parse_args(words)
    for name in ("config", "input"):
        if getattr(options, name, None):
            assert (ROOT / getattr(options, name)).is_file()


QUICK = ("plan", "try", "schema")  # make demo runs the others


@pytest.mark.parametrize("command", [command for command in commands() if command.split()[1] in QUICK])
def test_quick_commands_in_readme_run(command, monkeypatch, capsys):
    """They end well and say something."""
    monkeypatch.chdir(ROOT)
    assert main(shlex.split(command.split(">")[0])[1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_every_command_is_in_readme():
    """A command that README does not mention is not found by anybody."""
    for action in _parser()._subparsers._group_actions[0].choices:
        assert re.search(rf"`(gristmill )?{action}\b", README), action


def test_the_configuration_in_readme_is_valid():
    """The example under Configuration passes validation as it stands."""
    config = Config.model_validate(yaml.safe_load(block("Configuration", "yaml")))
    assert config.sources[0].priority == 2


def test_the_makefile_has_what_readme_says():
    """make demo and make test; .ci/run ends in make test."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


def test_the_lock_pins_what_is_installed():
    """Every dependency, of the project and of each extra, is in the lock: what an image installs, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lock if "==" in line}
    plain = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    assert {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower() for name in asked} <= plain


def test_every_claim_of_speed_has_a_script():
    """Each script under tests/bench that RESULTS.md names exists, and each script has a section there."""
    results = (ROOT / "tests" / "bench" / "RESULTS.md").read_text()
    named = set(re.findall(r"tests/bench/(\w+\.py)", results))
    scripts = {path.name for path in (ROOT / "tests" / "bench").glob("*.py")}
    assert named == scripts


def test_the_reference_of_keys_is_up_to_date():
    """Every key has a meaning, and configs/README.md is what `gristmill schema --markdown` prints."""
    from pipeline.reference import reference

    assert [line for line in reference().splitlines() if line.startswith("| `") and line.endswith("| |")] == []
    assert (ROOT / "configs" / "README.md").read_text() == reference(), (
        "gristmill schema --markdown > configs/README.md"
    )


def code(text: str) -> list[str]:
    """Return the code blocks of a page without comments and the tree."""
    blocks = re.findall(r"```(?:sh|python|yaml)\n(.*?)```", text, re.DOTALL)
    return [re.sub(r" *(?<![\w{$])#.*", "", block) for block in blocks]


def test_the_chinese_readme_says_the_same():
    """The same code, as many sections and table rows; a change of one page belongs into the other."""
    chinese = (ROOT / "README.zh-CN.md").read_text()
    assert code(chinese) == code(README)
    for start in ("## ", "|"):
        ours, theirs = (sum(line.startswith(start) for line in page.splitlines()) for page in (README, chinese))
        assert ours == theirs, start
