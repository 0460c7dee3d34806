"""Every configuration of configs/ runs as it stands, over small files of its formats, from source to shards."""

import json
import random

import pytest
import yaml

from tests.conftest import ROOT
from tests.pipeline.corpus import WORDS, counts, run_stages
from tests.transforms.readers import test_mediawiki as mediawiki
from tests.transforms.readers import test_warc as warc
from tests.transforms.readers.reading import COMPRESS, SUFFIX

GERMAN = (
    "der die und in den von zu das mit sich des auf ist im dem nicht ein eine als auch es an werden aus er hat dass"
    " sie nach wird bei einer um am sind noch wie einem einen so zum war haben nur oder aber vor zur bis mehr durch man"
    " sein wurde wenn zwei Jahre keine immer unter viele dieser Wasser Stadt Leben Zeit Jahr Haus Weg Arbeit Tag Land"
).split()
CHINESE = (
    "\u7684\u4e00\u662f\u5728\u4e0d\u4e86\u6709\u548c\u4eba\u8fd9\u4e2d\u5927\u4e3a\u4e0a\u4e2a\u56fd\u6211\u4ee5\u8981"
    "\u4ed6\u65f6\u6765\u7528\u4eec\u751f\u5230\u4f5c\u5730\u4e8e\u51fa\u5c31\u5206\u5bf9\u6210\u4f1a\u53ef\u4e3b\u53d1"
    "\u5e74\u52a8\u540c\u5de5\u4e5f\u80fd\u4e0b\u8fc7\u5b50\u8bf4\u4ea7\u79cd\u9762\u800c\u65b9\u540e\u591a\u5b9a\u884c"
)


def document(rng, language):
    """Return a text of twelve lines in a language, no line or phrase of which is repeated."""
    if language == "zh":
        return "\n".join("".join(rng.choices(CHINESE, k=40)) + "\u3002" for _ in range(12))
    words = GERMAN if language == "de" else WORDS
    return "\n".join(" ".join(rng.choices(words, k=20)).capitalize() + "." for _ in range(12))


def write_source(source, texts, directory):
    """Write `texts` in the format of a source of a recipe, and return a path for it."""
    directory.mkdir()
    kind = source["format"]
    if kind == "jsonl":
        fields = source.get("text", "text"), source.get("url", "url")
        records = [{fields[0]: text, fields[1]: f"https://example.org/{n}"} for n, text in enumerate(texts)]
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        codec = next((codec for codec, suffix in SUFFIX.items() if source["path"].endswith(suffix)), None)
        path = directory / f"a.jsonl{SUFFIX.get(codec, '')}"
        path.write_bytes(COMPRESS[codec](data) if codec else data)
    elif kind == "text":
        for number, text in enumerate(texts):
            (directory / f"{number}.txt").write_text(text)
        path = directory / "*.txt"
    elif kind == "mediawiki":
        pages = [mediawiki.page(text, f"Title {n}", number=n + 1) for n, text in enumerate(texts)]
        path = directory / "dump.xml.bz2"
        path.write_bytes(b"".join(COMPRESS["bzip2"](part) for part in (mediawiki.HEAD, *pages, mediawiki.TAIL)))
    elif kind in ("warc", "wet"):
        path = directory / f"a.{kind}.gz"
        path.write_bytes(b"".join(COMPRESS["gzip"](_warc_record(kind, n, text)) for n, text in enumerate(texts)))
    elif kind == "datasets":
        path = directory
        (path / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        raise AssertionError(f"no small file of format {kind}; add one")
    return str(path)


def _warc_record(kind, number, text):
    address = f"WARC-Target-URI: https://example.org/{number}"
    if kind == "wet":
        return warc.record(text.encode(), "conversion", address, mime="text/plain")
    lines = "".join(f"<p>{line}</p>" for line in text.split("\n"))
    return warc.record(warc.http(f"<html><body><main>{lines}</main></body></html>".encode()), "response", address)


RECIPES = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.stem != "quickstart"]  # make demo runs it


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(path, tmp_path):
    """All documents are kept but two: one that is repeated and one in a language that the recipe does not keep."""
    recipe = yaml.safe_load(path.read_text())
    kept = (recipe["clean"].get("language") or {}).get("keep")
    rng = random.Random(1)
    texts = [document(rng, kept[0].partition("-")[0] if kept else "en") for _ in range(60)]
    texts += [document(rng, "de" if kept != ["de"] else "en"), texts[0]]
    overrides = [f"output={tmp_path / 'out'}", "runner.engine=FnApiRunner", "tokenize.seq_length=64"]
    overrides += ["tokenize.tokenizer={train: wordpiece, vocab_size: 600}", "tokenize.validation=0.1"]
    for number, source in enumerate(recipe["sources"]):
        own = texts[number :: len(recipe["sources"])]
        overrides.append(f"sources.{number}.path={write_source(source, own, tmp_path / source['name'])}")
        if source["format"] == "datasets":
            overrides.append(f"sources.{number}.config=null")
    run_stages(path, overrides=overrides)
    found = counts(tmp_path / "out")
    assert found["clean"]["input"] == 62
    assert sum(found["clean"]["rejected"].values()) == (1 if kept else 0)
    assert found["dedup"]["rejected"] == {"exact": 1}
    assert found["shards"]["train"]["tokens"] > found["shards"]["validation"]["tokens"] > 0
