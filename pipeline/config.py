"""The configuration: one YAML file describes one run. Unknown keys are refused with the nearest valid one."""

import difflib
import os
import re
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipeline.errors import UserError
from pipeline.pretrain.settings import Settings as Pretrain
from pipeline.sections import Clean, Dedup, QualityPreset, Section, Tokenize, members
from transforms.readers.source import Source
from transforms.storage import is_local

_MAX_NAME = 100  # of a source; it becomes part of file names


class Rejected(Section):
    """What the ledger of rejected documents keeps beside the reason."""

    keep_text: bool = False
    """Keep the text of rejected documents too."""


Share = Annotated[float, Field(ge=0, le=1)]


class Checks(Section):
    """Limits of the gates of `gristmill check`. None is part of what a stage makes.

    Null leaves a gate out, but for `pii_left`, where it means 0.001 if `clean.pii` masks something.

    Least values: the kept ones, `language_purity`, `row_fill`. All others are the most that is allowed.
    """

    sample: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Documents whose text is measured again (no gate)."""
    kept_source: Share | None = 0.01
    """Least share of a source's records that is left."""
    kept_language: Share | None = 0.01
    """Least share of the labelled records of a source in one language that is left."""
    language_purity: Share | None = 0.95
    """Least share of the sample that is in a kept language."""
    duplicates_left: Share | None = 0.001
    """Largest share of the survivors that repeats another."""
    pii_left: Share | None = None
    """Largest share of the sample with personal data; null: 0.001 where `clean.pii` masks something."""
    contamination: Share | None = 0.0
    """Largest share of the evaluation examples that is in surviving documents."""
    fertility: Annotated[float, Field(gt=0)] | None = 4.0
    """Most tokens a word."""
    unknown_tokens: Share | None = 0.01
    """Largest share of tokens that are unknown to the tokenizer."""
    short_documents: Share | None = 0.5
    """Largest share of documents with fewer than 32 tokens."""
    row_fill: Share | None = 0.6
    """Least share of the training rows that is filled."""
    drift: Annotated[float, Field(gt=0)] | None = 0.25
    """Largest population stability index against `--baseline`."""
    tokens_changed: Annotated[float, Field(gt=0)] | None = 0.5
    """Largest change of the number of tokens, as a share of the baseline's."""


class Runner(Section):
    """Where Beam runs: `local` is our pool of processes, anything else a Beam runner's name."""

    engine: str = "local"
    """`local`, a pool of processes; `dataflow`, `flink`, `spark`, or the name of a Beam runner."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 2
    """Processes of the pool."""
    worker_bytes: Annotated[int, Field(ge=1 << 29)] | None = None
    """Memory that a process of the pool may have; what needs more fails with a line that says so."""


class Config(Section):
    """One run."""

    name: str
    """Name of the run, for the report."""
    output: Annotated[str, Field(min_length=1)]
    """Directory or URL of everything that is made."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Determines every random choice."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Where documents come from."""
    unit_bytes: Annotated[int, Field(ge=1 << 10, le=1 << 40)] | None = None
    """Size of a work unit as stored; null: a 256th of the corpus, 16 to 256 MiB. Files planned already keep theirs."""
    clean: Clean = Clean()
    """Stage one."""
    dedup: Dedup = Dedup()
    """Stage two."""
    tokenize: Tokenize = Tokenize()
    """Stage three."""
    pretrain: Pretrain | None = None
    """Stage four; left out: no training."""
    rejected: Rejected = Rejected()
    """The ledger of rejected documents."""
    checks: Checks = Checks()
    """Limits of `gristmill check`; null leaves a gate out, but for `pii_left`."""
    runner: Runner = Runner()
    """Where it runs."""

    @field_validator("output")
    @classmethod
    def _output_is_a_place(cls, output: str) -> str:
        return str(Path(output.removeprefix("file://")).expanduser()) if is_local(output) else output

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Config":
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sources are called {name!r}")
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.]*(-[A-Za-z0-9_.]+)*", name) or len(name) > _MAX_NAME:
                raise ValueError(
                    f"source name {name!r}: up to {_MAX_NAME} letters, digits, '.', '_' and single '-', no dot in front"
                )
        return self

    @model_validator(mode="after")
    def _training_is_possible(self) -> "Config":
        if self.pretrain is not None:
            self.pretrain.check()
            if self.pretrain.objective == "mlm+nsp" and self.tokenize.packing != "pairs":
                raise ValueError(
                    f"pretrain.objective mlm+nsp trains on sentence pairs; set tokenize.packing to pairs, not"
                    f" {self.tokenize.packing}"
                )
            made = ["shards", *(f"shards-{length}" for length in self.tokenize.seq_lengths[1:])]
            if self.pretrain.shards not in made:
                raise ValueError(
                    f"pretrain.shards: tokenize makes {', '.join(made)}, not {self.pretrain.shards};"
                    " name its length second or later in tokenize.seq_length"
                )
        return self


class _UniqueKeys(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_UNQUOTED = re.compile(r"^[^#\n]*[:,\[-]\s+[*@]", re.MULTILINE)  # where YAML has aliases, and nothing at all


def read_yaml(path: str, *, what: str, hint: str = "") -> dict[str, Any]:
    """Return the mapping in a YAML file, loaded safely.

    Raises:
        UserError: one line that names the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {what} {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        raw = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        quotes = "; a value that begins with * or @ needs quotes" if _UNQUOTED.search(text) else ""
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}{quotes}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} is not a mapping of keys{hint}")
    return raw


def load_config(path: str, overrides: Sequence[str] = ()) -> Config:
    """Read, override (`key.path=value`, value as YAML), expand and validate a configuration.

    Raises:
        UserError: one line that names the file, the key and the nearest valid key or value.
    """
    raw = read_yaml(path, what="the configuration", hint="; `gristmill schema` shows what belongs there")
    for given in overrides:
        override(raw, given)
    expanded = _expand(raw)
    try:
        return Config.model_validate(expanded)
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def override(raw: dict[str, Any], given: str) -> None:
    """Set `key.path=value` in place; list elements by number, missing sections are made.

    The value is YAML, or text that YAML cannot read because it begins as no text does there: `*.jsonl`, `@list.txt`.
    """
    key, separator, value = given.partition("=")
    if not separator:
        raise UserError(f"--set {given}: write key.path=value")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        if not value.startswith(("*", "@")):
            raise UserError(f"--set {given}: the value is not YAML") from None
        parsed = value
    at: Any = raw
    *parents, last = (int(name) if name.isdecimal() else name for name in key.split("."))
    try:
        for name in parents:
            if isinstance(at, dict) and at.get(name) is None:
                at[name] = {}
            at = at[name]
        at[last] = parsed
    except (IndexError, KeyError, TypeError):
        raise UserError(f"--set {given}: there is no such place in the configuration") from None


_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


def _expand(value: Any) -> Any:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _placeholder(match[1]), value)
    if isinstance(value, dict):
        return {key: _expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item) for item in value]
    return value


def _placeholder(name: str) -> str:
    if name == "site_packages":
        return sysconfig.get_path("purelib")
    if name == "stdlib":
        return sysconfig.get_path("stdlib")
    if name.startswith("env:"):
        variable = name.removeprefix("env:")
        if variable not in os.environ:
            raise UserError(f"${{{name}}}: the environment variable {variable} is not set")
        return os.environ[variable]
    raise UserError(f"unknown placeholder ${{{name}}}; there are ${{site_packages}}, ${{stdlib}} and ${{env:NAME}}")


def first_error(error: ValidationError, model: type[Section] = Config) -> str:
    """Return the most useful error as one line: an unknown key before a missing one, being often its misspelling."""
    found = error.errors(include_url=False)
    inner = {item["loc"][:depth] for item in found for depth in range(len(item["loc"]))}
    errors = [item for item in found if item["loc"] not in inner]  # a list is too short because its member is wrong
    errors.sort(key=lambda item: not _is_unknown_key(item["type"]))
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != QualityPreset.__name__)  # named for being in a union
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if _is_unknown_key(first["type"]):
        *parents, key = first["loc"]
        valid = _valid_keys(model, parents)
        nearest = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(valid)}"
        return f"unknown key {where!r}{hint}{more}"
    message = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list").replace("Tuple", "List")
    given = "" if isinstance(first["input"], dict) or first["type"] == "missing" else f", got {first['input']!r}"
    # YAML has a false in `keep: [no]`, a date in `name: 2024-01-01` and a number in `revision: 2024`.
    quotes = "; put it into quotes" if first["type"] == "string_type" and _is_scalar(first["input"]) else ""
    return f"{where + ': ' if where else ''}{message[0].lower()}{message[1:]}{given}{quotes}{more}"


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, list | tuple | dict)


def _is_unknown_key(kind: str) -> bool:
    return kind in ("extra_forbidden", "unexpected_keyword_argument")


def _valid_keys(model: Any, location: Sequence[int | str]) -> list[str]:
    """Return the field names of the section at `location`."""
    annotation: Any = model
    for part in location:
        if isinstance(part, int):
            continue  # a place in a list: its members are those of the annotation already
        section = next((member for member in members(annotation) if part in _field_types(member)), None)
        if section is None:
            continue  # pydantic names union members in the location
        annotation = _field_types(section)[part]
    return [name for member in members(annotation) for name in _field_types(member)]


def _field_types(member: Any) -> Mapping[str, Any]:
    if isinstance(member, type) and issubclass(member, BaseModel):
        return {name: field.annotation for name, field in member.model_fields.items()}
    if is_dataclass(member):
        return {field.name: field.type for field in fields(member)}
    return {}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration, for editors."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Gristmill run", **schema}
