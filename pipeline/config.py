"""The configuration: one YAML file describes one run. Unknown keys are refused with the nearest valid one."""

import difflib
import os
import re
import sysconfig
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from pipeline.errors import UserError
from pipeline.pretrain.settings import Settings as Pretrain
from transforms.readers.source import Source
from transforms.storage import is_local

STAGES = ("clean", "dedup", "tokenize", "pretrain")
_MIN_ROW, _MAX_ROW = 8, 1 << 17  # tokens
_MAX_NAME = 100  # of a source; it becomes part of file names


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in _members(annotation):
            raise ValueError("true and false are no value here")
        return value


class Language(Section):
    """Language identification; an empty keep-list labels and keeps everything.

    `detector` is langdetect, or fasttext with the path of a `model`, or that path itself. `thresholds` are by language.
    """

    keep: tuple[str, ...] = ()
    detector: str = "langdetect"
    model: str | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.65
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}

    @model_validator(mode="after")
    def _a_path_is_a_model(self) -> "Language":
        if self.detector.endswith((".bin", ".ftz")) and self.model is None:
            object.__setattr__(self, "model", self.detector)  # the section is frozen for everybody else
            object.__setattr__(self, "detector", "fasttext")
        if self.detector not in ("langdetect", "fasttext"):
            raise ValueError(
                f"detector {self.detector!r} is not langdetect, fasttext or the path of a .bin or .ftz file"
            )
        if (self.detector == "fasttext") != (self.model is not None):
            raise ValueError("detector fasttext, and no other, needs model: the path of a .bin or .ftz file")
        return self

    @property
    def package(self) -> str:
        """Whose version the labels depend on."""
        return "langdetect" if self.model is None else "fasttext-predict"

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `label_language`."""
        return self.model_dump(exclude={"detector"})


class QualityPreset(Section):
    """A quality preset with values of one's own: thresholds by rule (null disables), and by language.

    A language's values are those of fineweb-2's files, or the path of such a file.
    """

    preset: str
    thresholds: dict[str, float | None] = {}
    languages: dict[str, str | dict[str, Any]] = {}
    words: Literal["english", "character"] | None = None


def preset_names(quality: Sequence[Any]) -> list[str]:
    """Return the names of the presets in `clean.quality` as run.json has it."""
    return [chosen if isinstance(chosen, str) else chosen["preset"] for chosen in quality]


class StatisticRule(Section):
    """A rule of one's own: a document whose `statistic` is below `min` or above `max` is rejected under `name`."""

    statistic: str
    min: float | None = None
    max: float | None = None
    name: str | None = None


class UrlFilter(Section):
    """Pages rejected by their address; each key is the path of a list, one entry a line."""

    domains: str | None = None
    urls: str | None = None
    words: str | None = None
    soft_words: str | None = None
    subwords: str | None = None


class BadWords(Section):
    """Documents rejected for a word of a list: the path of one, or of a directory with one for each language.

    Less than all, `fraction`, may be rejected; which, is a hash of the address.
    """

    path: str
    fraction: Annotated[float, Field(ge=0, le=1)] = 1.0


class Classifier(Section):
    """A fastText model by path; documents whose score for `label` is below `threshold` are rejected."""

    model: str
    label: str
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class Clean(Section):
    """What happens to each document on its own."""

    url_filter: UrlFilter | None = None
    repair: tuple[Literal["mojibake", "boilerplate", "citations", "symbol_lines"], ...] = ()
    unicode: Literal["nfc", "nfkc", "none"] = "nfc"
    language: Language | None = None
    quality: tuple[str | QualityPreset, ...] = ()
    rules: tuple[StatisticRule, ...] = ()
    keep_statistics: bool = False
    bad_words: BadWords | None = None
    classifier: Classifier | None = None
    pii: tuple[Literal["email", "ip", "phone", "card", "iban"], ...] = ()
    stop_words: str | None = None


class MinHash(Section):
    """Near-duplicate detection: `bands` x `rows` permutations over `ngram`-word shingles.

    `permutations` instead of bands and rows lets the threshold choose them, as datasketch does.
    """

    bands: Annotated[int, Field(ge=1, le=256)] = 14
    rows: Annotated[int, Field(ge=1, le=256)] = 8
    permutations: Annotated[int, Field(ge=2, le=4096)] | None = None
    ngram: Annotated[int, Field(ge=1, le=64)] = 5
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.75
    verify: Literal["none", "signature", "jaccard"] = "signature"

    @model_validator(mode="after")
    def _bands_are_chosen_once(self) -> "MinHash":
        if self.permutations is None:
            return self
        from transforms.fingerprint import MinHashParameters  # noqa: PLC0415 - numba, which --help does not wait for

        chosen = MinHashParameters.for_threshold(self.threshold, self.permutations)
        for name in ("bands", "rows"):
            value = getattr(chosen, name)
            if name in self.model_fields_set and getattr(self, name) != value:
                raise ValueError(
                    f"permutations {self.permutations} at threshold {self.threshold} choose {chosen.bands} bands of"
                    f" {chosen.rows} rows; give either permutations or bands and rows"
                )
            object.__setattr__(self, name, value)  # the section is frozen for everybody else
        return self


class Decontaminate(Section):
    """Documents that share `ngram` words in a row with an example of the evaluation sets; `mark` only reports them."""

    sets: Annotated[tuple[Source, ...], Field(min_length=1)]
    ngram: Annotated[int, Field(ge=1, le=64)] = 13
    action: Literal["drop", "mark"] = "drop"


class Lines(Section):
    """Lines, or paragraphs between empty lines, that are repeated: all but the first `keep` of equal words are cut."""

    unit: Literal["line", "paragraph"] = "line"
    keep: Annotated[int, Field(ge=0)] = 1  # C4 keeps one, CCNet none
    min_words: Annotated[int, Field(ge=1)] = 5  # shorter ones stay: headings, "Yes."


class Substrings(Section):
    """Text that is repeated byte by byte for at least `min_length` bytes is cut, but for its first occurrence."""

    min_length: Annotated[int, Field(ge=32, le=1 << 16)] = 200  # Lee et al. 2022: 50 tokens


class Dedup(Section):
    """Exact and near-duplicate removal; `minhash: null` leaves the exact one alone.

    `against` names the directories of earlier runs; `policy` says whose documents survive, theirs or this run's.
    `takedown` is a file of addresses whose pages are deleted, and with them the copies that they stood for.
    """

    exact: bool = True
    url: bool = False
    minhash: MinHash | None = MinHash()
    against: tuple[str, ...] = ()
    policy: Literal["old", "new"] = "old"
    decontaminate: Decontaminate | None = None
    takedown: str | None = None
    lines: Lines | None = None
    substrings: Substrings | None = None
    shuffle: bool = False  # GroupByKey instead of passes over run files, for runners of many machines

    @model_validator(mode="after")
    def _earlier_runs_have_no_text(self) -> "Dedup":
        if self.against and self.minhash is not None and self.minhash.verify == "jaccard":
            raise ValueError("verify: jaccard needs the text of both documents; against earlier runs use signature")
        return self


class TokenizerChoice(Section):
    """Either `train` a model on the surviving documents or `load` one from a path.

    The sample it learns from holds each language in proportion to its bytes to the power of `temperature`.
    """

    train: Literal["wordpiece", "bpe"] | None = None
    vocab_size: Annotated[int, Field(ge=300, le=1 << 20)] = 30522
    pad_vocab_to: Annotated[int, Field(ge=1, le=1024)] = 1
    sample_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    temperature: Annotated[float, Field(ge=0, le=1)] = 1.0
    load: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenizerChoice":
        if (self.train is None) == (self.load is None):
            raise ValueError("give either train (wordpiece or bpe) or load (a path)")
        if self.load is not None and (self.pad_vocab_to != 1 or self.temperature != 1.0):
            raise ValueError("pad_vocab_to and temperature are for train; a tokenizer that is loaded stays as it is")
        return self


class Tokenize(Section):
    """Token ids, packing and the train/validation split.

    Of several lengths of rows the first goes to shards/, each other one to shards-<length>/. `pairs` makes rows of two
    segments for next-sentence prediction.
    """

    tokenizer: TokenizerChoice = TokenizerChoice(train="wordpiece")
    seq_length: int | tuple[int, ...] = 512
    packing: Literal["best_fit", "concat", "none", "pairs"] = "best_fit"
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.005

    @property
    def seq_lengths(self) -> tuple[int, ...]:
        """The lengths of rows, at least one."""
        return (self.seq_length,) if isinstance(self.seq_length, int) else self.seq_length

    @field_validator("seq_length")
    @classmethod
    def _lengths_are_possible(cls, seq_length: int | tuple[int, ...]) -> int | tuple[int, ...]:
        lengths = (seq_length,) if isinstance(seq_length, int) else seq_length
        if not lengths or not all(_MIN_ROW <= length <= _MAX_ROW for length in lengths):
            raise ValueError(f"give one length of rows or several, each {_MIN_ROW} to {_MAX_ROW} tokens")
        if len(set(lengths)) < len(lengths):
            raise ValueError("a length is given twice")
        return seq_length


class Rejected(Section):
    """What the ledger of rejected documents keeps beside the reason."""

    keep_text: bool = False


Share = Annotated[float, Field(ge=0, le=1)]


class Checks(Section):
    """Limits of the gates of `gristmill check`; null leaves one out. None is part of what a stage makes.

    Least values: the kept ones, `language_purity`, `row_fill`. All others are the most that is allowed.
    """

    sample: Annotated[int, Field(ge=1, le=1_000_000)] = 2000  # documents whose text is measured again
    kept_source: Share | None = 0.01
    kept_language: Share | None = 0.01
    language_purity: Share | None = 0.95
    duplicates_left: Share | None = 0.001
    pii_left: Share | None = None  # null: 0.001 if clean.pii masks something, else told and not judged
    contamination: Share | None = 0.0
    fertility: Annotated[float, Field(gt=0)] | None = 4.0  # tokens a word
    unknown_tokens: Share | None = 0.01
    short_documents: Share | None = 0.5  # with fewer than 32 tokens
    row_fill: Share | None = 0.6
    drift: Annotated[float, Field(gt=0)] | None = 0.25  # population stability index against --baseline
    tokens_changed: Annotated[float, Field(gt=0)] | None = 0.5  # share of the baseline's tokens


class Runner(Section):
    """Where Beam runs: `local` is our pool of processes, anything else a Beam runner's name."""

    engine: str = "local"
    workers: Annotated[int, Field(ge=1, le=1024)] = 2


class Config(Section):
    """One run."""

    name: str
    output: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    unit_bytes: Annotated[int, Field(ge=1 << 10, le=1 << 40)] = 256 << 20
    clean: Clean = Clean()
    dedup: Dedup = Dedup()
    tokenize: Tokenize = Tokenize()
    pretrain: Pretrain | None = None
    rejected: Rejected = Rejected()
    checks: Checks = Checks()
    runner: Runner = Runner()

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
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
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
    """Set `key.path=value` in place; list elements by number, missing sections are made."""
    key, separator, value = given.partition("=")
    if not separator:
        raise UserError(f"--set {given}: write key.path=value")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {given}: the value is not YAML") from None
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
    errors = sorted(error.errors(include_url=False), key=lambda item: not _is_unknown_key(item["type"]))
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != QualityPreset.__name__)  # named for being in a union
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if _is_unknown_key(first["type"]):
        *parents, key = first["loc"]
        valid = _valid_keys(model, parents)
        nearest = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(valid)}"
        return f"unknown key {where!r}{hint}{more}"
    message = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict) or first["type"] == "missing" else f", got {first['input']!r}"
    return f"{where + ': ' if where else ''}{message[0].lower()}{message[1:]}{given}{more}"


def _is_unknown_key(kind: str) -> bool:
    return kind in ("extra_forbidden", "unexpected_keyword_argument")


def _valid_keys(model: Any, location: Sequence[int | str]) -> list[str]:
    """Return the field names of the section at `location`."""
    annotation: Any = model
    for part in location:
        if isinstance(part, int):
            continue  # a place in a list: its members are those of the annotation already
        section = next((member for member in _members(annotation) if part in _field_types(member)), None)
        if section is None:
            continue  # pydantic names union members in the location
        annotation = _field_types(section)[part]
    return [name for member in _members(annotation) for name in _field_types(member)]


def _members(annotation: Any) -> list[Any]:
    """Return the classes inside `A | None`, `tuple[A, ...]` and `Annotated[A, ...]`."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (tuple, list, typing.Union, types.UnionType):
        return [member for argument in typing.get_args(annotation) for member in _members(argument)]
    return [annotation]


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
