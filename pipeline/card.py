"""The dataset card: README.md of the output, with the YAML header that the Hugging Face hub reads."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from pipeline.escape import markdown
from pipeline.output import Output
from pipeline.sections import preset_names
from transforms import storage

_MARK = "<!-- written by gristmill report; a README.md without this line is left alone -->"
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"))  # fmt: skip


def write_card(output: Output) -> None:
    """Write README.md into the output, unless somebody else has written one there."""
    path = storage.join(output.out, "README.md")
    if storage.size(path) >= 0:
        with storage.open_binary(path) as handle:
            if _MARK.encode() not in handle.read():
                return
    storage.write_text(path, "\n".join(card_lines(output)) + "\n")


def card_lines(output: Output) -> Iterator[str]:
    """Yield the lines of the card."""
    yield "---"
    yield yaml.safe_dump(_header(output), sort_keys=False, allow_unicode=True).rstrip()
    yield "---"
    yield _MARK
    yield ""
    config, stages = output.config, output.stages
    yield f"# {markdown(config['name'])}"
    yield ""
    yield "Training-ready rows of token ids for masked language models. `report/index.html` shows how they were made."
    yield ""
    yield "| source | format |"
    yield "|---|---|"
    for source in config["sources"]:
        yield f"| {markdown(source['name'])} | {markdown(source['format'])} |"
    yield ""
    yield "## How it was made"
    yield ""
    yield from _counts(stages)
    yield ""
    yield f"- Unicode normal form: {config['clean']['unicode']}"
    yield f"- Quality rules: {', '.join(preset_names(config['clean']['quality'])) or 'none'}"
    yield f"- Personal data masked: {', '.join(config['clean'].get('pii') or ()) or 'none'}"
    minhash = config["dedup"]["minhash"]
    near = (
        f"MinHash, {minhash['bands']} bands of {minhash['rows']} rows, threshold {minhash['threshold']}"
        if minhash
        else "none"
    )
    yield f"- Duplicates removed: {'exact; ' if config['dedup']['exact'] else ''}near: {near}"
    decontaminate = config["dedup"].get("decontaminate")
    if decontaminate:
        done = "dropped" if decontaminate["action"] == "drop" else "reported"
        sets = ", ".join(markdown(part["name"]) for part in decontaminate["sets"])
        yield f"- Documents that overlap with evaluation sets ({sets}): {done}"
    yield ""
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in output.run["versions"].items()) + "."
    yield ""
    yield "## Use"
    yield ""
    yield "```python"
    yield "import datasets"
    yield ""
    yield 'rows = datasets.load_from_disk("shards")  # or load_dataset with this directory'
    yield "```"
    yield ""
    yield "## Rights and limits"
    yield ""
    yield "The texts keep the rights of their authors; the licence above says `other` until the publisher decides."
    yield "`documents/` holds the address of each text, and `gristmill explain` leads from a row to it."


def _header(output: Output) -> dict[str, Any]:
    stages = output.stages
    kept = stages.get("dedup", stages.get("clean", {})).get("counts", {}).get("kept", 0)
    counts = stages.get("clean", {}).get("counts", {}).get("languages", {})
    labels = sorted({re.split("[-_]", name)[0] for name in counts if name != "unknown"})
    header: dict[str, Any] = {
        "pretty_name": output.config["name"],
        "language": labels or ["und"],
        "license": "other",
        "task_categories": ["fill-mask"],
        "tags": ["gristmill", "pretraining"],
        "size_categories": [next((name for limit, name in _SIZES if kept < limit), "n>1T")],
    }
    for directory, counts in output.shards.items():
        splits = [name for name in ("train", "validation") if counts[name]["rows"]]
        files = [{"split": name, "path": f"{directory}/{name}/*.arrow"} for name in splits]
        name = "default" if directory == "shards" else directory
        header.setdefault("configs", []).append({"config_name": name, "data_files": files})
    return header


def _counts(stages: dict[str, Any]) -> Iterator[str]:
    if "clean" in stages:
        counts = stages["clean"]["counts"]
        yield f"{counts['input']:,} records were read and {counts['kept']:,} documents passed the rules."
    if "dedup" in stages:
        yield f"{stages['dedup']['counts']['kept']:,} were left without duplicates."
    if "tokenize" in stages:
        yield f"They are {stages['tokenize']['counts']['tokens']:,} tokens."
