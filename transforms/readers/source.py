"""One source of a run: where documents come from and which of its fields they are in. No Beam."""

import difflib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

Format = Literal[
    "jsonl", "csv", "tsv", "text", "parquet", "arrow", "warc", "wet", "mediawiki", "gutenberg", "datasets", "python"
]
Extractor = Literal["resiliparse", "trafilatura"]
FORMATS: tuple[str, ...] = get_args(Format)

_ONLY = {"datasets": ("config", "split", "revision"), "warc": ("extractor",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where documents come from, as the config says it.

    Args:
        name: goes into the column `source`; unique within a run.
        format: how the files are read.
        path: a file, a pattern (`**` allowed), a URL that fsspec knows, `@list.txt` for a file of paths; for `datasets`
            a hub name or a local directory; for `python` a directory of packages or of the standard library.
        text: name of the field or column that is the document.
        url: name of the field or column that is its address; a record without one is fine.
        priority: whose copy survives deduplication: the larger number wins, among equals the smaller document id.
        weight: how often the documents of this source are seen in training.
        config: `datasets` only: name of the configuration.
        split: `datasets` only: name of the split; `train` if not given.
        revision: `datasets` only: commit or tag; pinned by the plan if not given.
        extractor: `warc` only: what finds the text in HTML; `resiliparse` if not given, `trafilatura` is an extra.

    Raises:
        ValueError: a value that cannot be meant.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    format: Format
    path: str
    text: str = "text"
    url: str = "url"
    priority: int = 1
    weight: float = 1.0
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    extractor: Extractor | None = None

    def __post_init__(self) -> None:
        for key in ("name", "path", "text"):
            if not getattr(self, key):
                raise ValueError(f"a source needs a {key}; it is empty in source {self.name!r}")
        if self.format not in FORMATS:
            near = difflib.get_close_matches(str(self.format), FORMATS, 1)
            hint = f"did you mean {near[0]!r}" if near else f"choose from {', '.join(FORMATS)}"
            raise ValueError(f"unknown format {self.format!r} of source {self.name!r}; {hint}")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight of source {self.name!r} is {self.weight}, but must be a number above 0")
        if self.text == self.url:
            raise ValueError(f"text and url of source {self.name!r} are both the field {self.text!r}; name two fields")
        for only, keys in _ONLY.items():
            given = [key for key in keys if getattr(self, key) is not None]
            if given and self.format != only:
                raise ValueError(f"{given[0]} of source {self.name!r} is only for format: {only}, not {self.format}")
