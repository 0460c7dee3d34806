"""Bands and rows: given, or chosen from threshold and permutations; what is chosen is said by `plan`."""

import pytest

from pipeline.config import Config, load_config
from pipeline.estimate import describe_plan, estimate
from pipeline.plan import make_plan
from pipeline.sections import MinHash
from tests.pipeline.corpus import run_stages, write_config, write_corpus
from tests.pipeline.test_config import MINIMAL


@pytest.mark.parametrize(
    ("threshold", "permutations", "bands", "rows"),
    [
        (0.7, 128, 14, 9),
        (0.7, 240, 24, 10),
        (0.7, 256, 25, 10),
        (0.8, 128, 9, 13),
        (0.5, 128, 25, 5),
        (0.45, 256, 47, 5),
    ],
)
def test_bands_and_rows_are_those_of_datasketch(threshold, permutations, bands, rows):
    """The pairs that users of datasketch, RedPajama and text-dedup know."""
    chosen = MinHash(threshold=threshold, permutations=permutations)
    assert (chosen.bands, chosen.rows) == (bands, rows)


def test_what_was_chosen_reads_back():
    """run.json keeps the choice, and what it keeps is a valid configuration again."""
    chosen = Config.model_validate({**MINIMAL, "dedup": {"minhash": {"permutations": 128}}})
    assert (chosen.dedup.minhash.bands, chosen.dedup.minhash.rows) == (11, 11)
    assert Config.model_validate(chosen.model_dump(mode="json")) == chosen


def test_plan_says_what_the_pair_finds(tmp_path):
    """0.75 and 128 permutations are 11 x 11 in datasketch, which finds 0.39 of the pairs at 0.75: plan tells."""
    write_corpus(tmp_path / "corpus", files=1, per_file=3)
    path = write_config(tmp_path, dedup={"minhash": {"permutations": 128}})
    config, _ = run_stages(path, last="dedup")
    lines = describe_plan(config).splitlines()
    at = next(i for i, line in enumerate(lines) if "11 bands x 11 rows" in line)
    similarity, found = (line.split()[1:] for line in lines[at + 1 : at + 3])
    assert float(found[similarity.index("0.75")]) == pytest.approx(1 - (1 - 0.75**11) ** 11, abs=6e-4)


def test_plan_counts_the_hashes_of_spans(tmp_path):
    """A quarter of a byte for each byte of text for lines, two for substrings, beside those of the bands."""
    write_corpus(tmp_path / "corpus", files=1, per_file=30)
    found = []
    for dedup in ({}, {"lines": {}}, {"substrings": {}}, {"lines": {}, "substrings": {}}):
        config = load_config(str(write_config(tmp_path, dedup=dedup)))
        needs = estimate(config, make_plan(config.sources, config.unit_bytes))
        found.append(needs.disk_bytes["work for dedup"] / needs.text_bytes)
    assert [one - found[0] for one in found[1:]] == pytest.approx([0.25, 2.0, 2.25])
