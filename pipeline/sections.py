"""The sections of the configuration: every key with its meaning, its default and what it may be."""

import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from transforms.readers.source import Source

_MIN_ROW, _MAX_ROW = 8, 1 << 17  # tokens


def members(annotation: Any) -> list[Any]:
    """Return the classes inside `A | None`, `tuple[A, ...]` and `Annotated[A, ...]`."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return members(typing.get_args(annotation)[0])
    if origin in (tuple, list, typing.Union, types.UnionType):
        return [member for argument in typing.get_args(annotation) for member in members(argument)]
    return [annotation]


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in members(annotation):
            raise ValueError("true and false are no value here")
        return value


class Language(Section):
    """Language identification; an empty keep-list labels and keeps everything.

    `detector` is langdetect, or fasttext with the path of a `model`, or that path itself. `thresholds` are by language.
    """

    keep: tuple[str, ...] = ()
    """Labels of the languages that are kept; none: every language is labelled and kept."""
    detector: str = "langdetect"
    """`langdetect` (its profiles, compiled), or `fasttext` with a `model`, or the path of that model."""
    model: str | None = None
    """Path of a fastText model (.bin or .ftz): lid.176, GlotLID, OpenLID."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.65
    """Least score of a kept language."""
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """The same by language."""

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
    """Name of the preset."""
    thresholds: dict[str, float | None] = {}
    """Other thresholds by name of the rule; null disables a rule."""
    languages: dict[str, str | dict[str, Any]] = {}
    """Values by language, or the path of a file in fineweb-2's form."""
    words: Literal["english", "character"] | None = None
    """How words are counted: as in English, or by character in scripts without spaces."""


class StatisticRule(Section):
    """A rule of one's own: a document whose `statistic` is below `min` or above `max` is rejected under `name`."""

    statistic: str
    """Name of the statistic."""
    min: float | None = None
    """Least value that is kept."""
    max: float | None = None
    """Largest value that is kept."""
    name: str | None = None
    """Name of the rule in `rejected/`; the statistic, if not given."""


class UrlFilter(Section):
    """Pages rejected by their address; each key is the path of a list, one entry a line. What has no address passes."""

    domains: str | None = None
    """Hosts and domains, with all below them."""
    urls: str | None = None
    """Whole addresses."""
    words: str | None = None
    """Words of an address, one of which is enough."""
    soft_words: str | None = None
    """Words of an address, of which it takes two."""
    subwords: str | None = None
    """Parts of an address, one of which is enough."""


class BadWords(Section):
    """Documents rejected for a word of a list: the path of one, or of a directory with one for each language.

    Less than all, `fraction`, may be rejected; which, is a hash of the address, or of the text where there is none.
    """

    path: str
    """A list, one entry a line, or a directory with one for each language."""
    fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the documents with a bad word that is rejected."""


class Classifier(Section):
    """A fastText model by path; documents whose score for `label` is below `threshold` are rejected."""

    model: str
    """Path of the model."""
    label: str
    """The label whose score counts."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least score that is kept; null: the score is only kept in `statistics/`."""


class Clean(Section):
    """What happens to each document on its own."""

    url_filter: UrlFilter | None = None
    """Pages rejected by their address."""
    repair: tuple[Literal["mojibake", "boilerplate", "citations", "symbol_lines"], ...] = ()
    """What is repaired before everything else."""
    unicode: Literal["nfc", "nfkc", "none"] = "nfc"
    """Unicode normal form."""
    language: Language | None = None
    """Language identification; left out: no label, and all languages are kept."""
    quality: tuple[str | QualityPreset, ...] = ()
    """Quality presets, in this order."""
    rules: tuple[StatisticRule, ...] = ()
    """Rules of your own on any statistic; they come before the presets."""
    keep_statistics: bool = False
    """Write `statistics/`: everything that the rules measure, of each document, also a rejected one."""
    bad_words: BadWords | None = None
    """Documents rejected for a word of a list."""
    classifier: Classifier | None = None
    """A fastText model that judges quality."""
    pii: tuple[Literal["email", "ip", "phone", "card", "iban"], ...] = ()
    """Personal data that is masked."""
    stop_words: str | None = None
    """Words taken out of the text: a language code, or the path of a list; for models of bags of words."""

    @field_validator("pii")
    @classmethod
    def _kinds_are_named_once(cls, pii: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(pii)) < len(pii):
            raise ValueError("a kind of personal data is given twice")  # and would be counted twice
        return pii


class MinHash(Section):
    """Near-duplicate detection: `bands` x `rows` permutations over `ngram`-word shingles.

    `permutations` instead of bands and rows lets the threshold choose them, as datasketch does.
    """

    bands: Annotated[int, Field(ge=1, le=256)] = 14
    """Bands of the signature; a pair that is equal in one is looked at."""
    rows: Annotated[int, Field(ge=1, le=256)] = 8
    """Values in a band."""
    permutations: Annotated[int, Field(ge=2, le=4096)] | None = None
    """Instead of bands and rows: the pair that datasketch would choose for the threshold."""
    ngram: Annotated[int, Field(ge=1, le=64)] = 5
    """Words in a shingle; characters in scripts without spaces."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Least similarity of a pair that counts as duplicates."""
    verify: Literal["none", "signature", "jaccard"] = "signature"
    """What must reach it: the share of equal signature values, the Jaccard similarity of the shingles, or nothing."""

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
    """The evaluation sets, given like sources."""
    ngram: Annotated[int, Field(ge=1, le=64)] = 13
    """Words in a row that must be equal."""
    action: Literal["drop", "mark"] = "drop"
    """Delete such documents, or only report them."""


class Lines(Section):
    """Lines, or paragraphs between empty lines, that are repeated: all but the first `keep` of equal words are cut."""

    unit: Literal["line", "paragraph"] = "line"
    """Lines, or paragraphs between empty lines."""
    keep: Annotated[int, Field(ge=0)] = 1
    """Occurrences that stay: 1 as in C4, 0 as in CCNet."""
    min_words: Annotated[int, Field(ge=1)] = 5
    """Lines with fewer words stay, such as headings."""


class Substrings(Section):
    """Text that is repeated byte by byte for at least `min_length` bytes is cut, but for its first occurrence."""

    min_length: Annotated[int, Field(ge=32, le=1 << 16)] = 200
    """Bytes that must repeat; 200 are about the 50 tokens of Lee et al. 2022."""


class Dedup(Section):
    """Exact and near-duplicate removal; `minhash: null` leaves the exact one alone.

    `against` names the directories of earlier runs; `policy` says whose documents survive, theirs or this run's.
    `takedown` is a file of addresses whose pages are deleted, with them their copies and what they are copies of.
    """

    exact: bool = True
    """Delete documents with the same text."""
    url: bool = False
    """Of the pages of one address keep the newest."""
    minhash: MinHash | None = MinHash()
    """Near-duplicates; null: none are looked for."""
    against: tuple[str, ...] = ()
    """Output directories of earlier runs, whose documents are not kept twice."""
    policy: Literal["old", "new"] = "old"
    """Whose documents survive, the earlier runs' or this one's."""
    decontaminate: Decontaminate | None = None
    """Documents that overlap with evaluation sets."""
    takedown: str | None = None
    """A file of addresses, one a line: their pages are deleted, with them their copies and what they are copies of."""
    lines: Lines | None = None
    """Cut lines that repeat over the corpus."""
    substrings: Substrings | None = None
    """Cut text that repeats byte by byte."""
    shuffle: bool = False
    """GroupByKey instead of passes over run files, for runners of many machines; the result is the same."""

    @model_validator(mode="after")
    def _earlier_runs_have_no_text(self) -> "Dedup":
        if self.against and self.minhash is not None and self.minhash.verify == "jaccard":
            raise ValueError("verify: jaccard needs the text of both documents; against earlier runs use signature")
        return self


class TokenizerChoice(Section):
    """Either `train` a model on the surviving documents or `load` one from a path.

    The sample it learns from holds each language in proportion to its bytes to the power of `temperature`.
    """

    train: Literal["wordpiece", "bpe", "unigram"] | None = None
    """Train a tokenizer of this kind on the surviving documents."""
    vocab_size: Annotated[int, Field(ge=300, le=1 << 20)] = 30522
    """Size of the vocabulary that is trained."""
    pad_vocab_to: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pad the vocabulary to a multiple of this."""
    sample_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    """Text to train on, drawn by a hash of each document."""
    temperature: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Each language has a share in that text in proportion to its bytes to this power: 1 as it is, 0 equal."""
    load: str | None = None
    """Path of a `tokenizer.json` to take instead."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenizerChoice":
        if (self.train is None) == (self.load is None):
            raise ValueError("give either train (wordpiece, bpe or unigram) or load (a path)")
        if self.load is not None and (self.pad_vocab_to != 1 or self.temperature != 1.0):
            raise ValueError("pad_vocab_to and temperature are for train; a tokenizer that is loaded stays as it is")
        return self


class Tokenize(Section):
    """Token ids, packing and the train/validation split.

    Of several lengths of rows the first goes to shards/, each other one to shards-<length>/. `pairs` makes rows of two
    segments for next-sentence prediction.
    """

    tokenizer: TokenizerChoice = TokenizerChoice(train="wordpiece")
    """The tokenizer: train one or load one."""
    seq_length: int | tuple[int, ...] = 512
    """Tokens in a row; of several lengths the first goes to `shards/`, each other one to `shards-<length>/`."""
    packing: Literal["best_fit", "concat", "none", "pairs"] = "best_fit"
    """How documents are put into rows; `pairs` makes rows of two segments for next-sentence prediction."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Share of the documents that is held out, by a hash of their content."""

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


def preset_names(quality: Sequence[Any]) -> list[str]:
    """Return the names of the presets in `clean.quality` as run.json has it."""
    return [chosen if isinstance(chosen, str) else chosen["preset"] for chosen in quality]
