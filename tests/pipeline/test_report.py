"""`gristmill report`: one page that shows what the run did, loads nothing, and executes nothing of a document's."""

import base64
import collections
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import datasets
import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline import excerpts
from pipeline.card import _header, card_lines, write_card
from pipeline.charts import Lost, Threshold, bar, curves, histogram, short
from pipeline.cli import main
from pipeline.gates.tokens import token_lengths
from pipeline.output import Output
from pipeline.report import as_data_block, fertility, funnel, licences, write_report
from tests.pipeline.corpus import records, run_stages, write_config
from transforms.schema import REJECTED

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {{ 7*7 }} \u2028"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run over 60 documents; names, texts, addresses and licences try to leave their place."""
    directory = tmp_path_factory.mktemp("report")
    rows = [{**row, "license": "CC0-1.0"} for row in records(60, seed=3)]
    hostile = [
        {"text": f"{HOSTILE} {records(9, seed=8)[3]['text']}", "url": "javascript:alert(1)", "license": HOSTILE},
        {"text": "Der Hund und die Katze sitzen auf der Bank. " * 8 + HOSTILE, "url": f"https://example.org/{HOSTILE}"},
    ]
    rows = [*hostile, *rows]  # among those that are shown at once
    (directory / "corpus").mkdir()
    (directory / "corpus" / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = write_config(
        directory, name=HOSTILE, clean={"language": {"keep": ["en"]}}, rejected={"keep_text": True}, pretrain=None
    )
    run_stages(path)
    (directory / "out" / "pretrain").mkdir()
    log = [{"step": step, "loss": 5 - step / 10} for step in range(1, 21)] + [
        {"step": 20, "validation_loss": 3.5},
        {"step": 21, "loss": None},
    ]
    (directory / "out" / "pretrain" / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    assert main(["check", str(directory / "out"), "--set", "checks.kept_source=1"]) == 1
    write_report(str(directory / "out"))
    return str(directory / "out")


@pytest.fixture(scope="module")
def page(out):
    return Path(out, "report", "index.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, attributes))


def block(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_loads_nothing_and_allows_only_its_own_script(page):
    """Two script elements and one style, their hashes in the policy; no address is fetched; names are escaped."""
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert policy.startswith("default-src 'none'")
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert (len(script), len(style), page.count("<script")) == (1, 1, 2)
    for text in (*script, *style):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    elements = Elements()
    elements.feed(page)
    assert {tag for tag, _ in elements.found} & {"img", "link", "iframe", "object", "embed", "base"} == set()
    attributes = [item for _, given in elements.found for item in given]
    assert all(value.startswith("#") for name, value in attributes if name == "href")
    assert not [name for name, _ in attributes if name in ("src", "action", "style") or name.startswith("on")]
    assert "@import" not in style[0]
    assert "url(" not in style[0]
    assert "49 \\u2028" not in page
    assert "\u2028" not in block_text(page)


def block_text(page):
    return re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]


def test_a_statistic_shows_what_its_rule_rejected(page):
    """The German document is drawn on the scores of the English ones, and not in a chart of its own."""
    chart = re.search(r"<h3>language score</h3>(.*?)</figure>", page, re.DOTALL)[1]
    assert "; 1 documents rejected" in chart
    assert len(rectangles(chart, "lost")) == 1
    assert "language, rejected" not in page


def test_the_data_block_gives_texts_back():
    """Escaped so that no element can end or begin in it, and read back unchanged."""
    text = as_data_block({"text": HOSTILE})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"text": HOSTILE}


def test_the_page_tells_the_run(out, page):
    """Every section; every rule with what it lost; kept and rejected documents; both texts of a near-duplicate."""
    for heading in (
        "Gates",
        "From records to documents",
        "Languages",
        "Statistics",
        "Tokens",
        "Near-duplicates",
        "Origin",
    ):
        assert f"<h2>{heading}</h2>" in page
    run = Output(out)
    steps = funnel(run)
    assert [step["name"] for step in steps if step["kind"] in ("read", "total")] == [
        "records read", "after clean", "after dedup",
    ]  # fmt: skip
    left = steps[0]["left"]
    for step in steps:
        left -= step["lost"]
        assert step["left"] == left
    assert left == run.stages["dedup"]["counts"]["kept"]
    data = block(page)
    by_rule = {row["rule"] for row in data["documents"]}
    assert by_rule == {"kept", "language", "exact", "minhash"}
    german = next(row for row in data["documents"] if row["rule"] == "language")
    assert german["threshold"] == 0.65
    assert german["text"].startswith("Der Hund")
    pair = data["pairs"][0]
    differing = [change for change in pair["changes"] if not change[0]]
    assert any("changed" in change[1] for change in differing)
    assert len(differing) < 5
    assert "loss over steps" in page
    assert "CC0-1.0" in page
    assert '<td class="word failed">failed</td>' in page


def test_fertility_and_licences_by_hand(out):
    """Tokens a word of all survivors are those of the records; licences are counted by field and value."""
    run = Output(out)
    sample = run.sample(1000)
    [(language, documents, words, tokens, ratio)] = fertility(sample, *token_lengths(run)[:2])
    assert (language, documents) == ("en", sample.num_rows)
    assert tokens == run.stages["tokenize"]["counts"]["tokens"]
    assert ratio == pytest.approx(tokens / words)
    assert words == sum(len(re.findall(r"\w+", text)) for text in sample.column("text").to_pylist())
    found = {(name, value): count for name, value, count in licences(sample)}
    assert sum(found.values()) == sample.num_rows
    assert found["license", "CC0-1.0"] >= sample.num_rows - 1


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    """After clean alone, and with nothing kept, the page says so."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "one.jsonl").write_text("{\n")
    run_stages(write_config(tmp_path), last="clean")
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    for words in ("bad_json", "Not deduplicated.", "Not tokenized.", "No model was trained"):
        assert words in page
    assert [row["rule"] for row in block(page)["documents"]] == ["bad_json"]


def test_a_fault_in_the_page_does_not_fail_the_run(tmp_path, monkeypatch):
    """The work is done and told as done; one line says how to try the page again."""

    def broken(out):
        raise ZeroDivisionError("strange document")

    monkeypatch.setattr("pipeline.report.write_report", broken)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "one.jsonl").write_text("{\n")
    _, said = run_stages(write_config(tmp_path), last="clean")
    [line] = said
    assert line.startswith("the report could not be written (ZeroDivisionError: strange document); gristmill report ")


def test_a_cut_line_of_the_log_is_left_out(out, tmp_path):
    """As it is when the trainer was killed while it wrote."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    with (copy / "pretrain" / "log.jsonl").open("a") as handle:
        handle.write('{"step": 21, "lo')
    assert main(["report", str(copy)]) == 0
    assert "loss over steps" in (copy / "report" / "index.html").read_text()


def test_verdicts_of_an_earlier_state_are_not_shown(out, tmp_path):
    """What `check` found of other tables says nothing of these."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    write_report(str(copy))
    page = copy / "report" / "index.html"
    assert 'id="gates"' in page.read_text()
    path = copy / "run.json"
    run = json.loads(path.read_text())
    run["stages"]["dedup"]["column_hashes"]["deletions"]["doc_id"] = "of another run"
    path.write_text(json.dumps(run))
    write_report(str(copy))
    assert 'id="gates"' not in page.read_text()


def test_the_languages_of_the_card():
    """Labels of every detector give the hub's two or three letters."""

    class Run:
        config: ClassVar = {"name": "x"}
        stages: ClassVar = {"clean": {"counts": {"kept": 1, "languages": {"deu_Latn": 3, "zh-cn": 1, "unknown": 2}}}}
        shards: ClassVar = {}

    assert _header(Run())["language"] == ["deu", "zh"]


def test_charts():
    """Bars keep their shares, thresholds lie inside, one value and hostile names are drawn."""
    assert 'width="25.000"' in bar(0.25, 0.5)
    assert 'x="25.000" width="50.000"' in bar(0.25, 0.5)
    chart = histogram("<b>", np.arange(100.0), [Threshold("<i>", 250.0)])
    assert "<b>" not in chart
    assert "<i>" not in chart
    x = float(re.search(r'class="limit" x1="([\d.]+)"', chart)[1])
    assert 36 < x <= 312.1
    counts = [float(height) for height in re.findall(r'class="kept".*?height="([\d.]+)"', chart)]
    assert len(counts) == 12  # up to 99 of 250
    assert max(counts) == 118.0
    assert histogram("one", np.array([7.0])).count("<rect") == 1
    assert histogram("log", np.array([0.0, 10.0, 1e6]), log=True).count("1k") == 1
    assert curves("c", {"a": [(0.0, 1.0), (10.0, 0.0)]}).count("<polyline") == 1
    assert [short(n) for n in (0, 0.65, 999, 1234, 35e6, 2e9)] == ["0", "0.65", "999", "1.23k", "35M", "2G"]


def rectangles(chart, name):
    places = re.findall(rf'class="{name}" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', chart)
    return {float(x): (float(y), float(height)) for x, y, height in places}


def test_rejected_documents_are_stacked_on_the_kept():
    """Each in proportion to the documents that it stands for; absurd values are in the last bin."""
    lost = Lost(np.array([*np.linspace(20, 29, 298), 10.0, 1e9]), np.full(300, 2.0))
    chart = histogram("words", np.full(100, 10.0), [Threshold("limit", 15.0)], weight=3.0, lost=lost)
    assert "100 values, median 10; 600 documents rejected" in chart
    kept, gone = rectangles(chart, "kept"), rectangles(chart, "lost")
    [(x, (y, height))] = kept.items()
    assert (y + height, round(height, 1)) == (132.0, round(118 * 300 / 302, 1))
    assert gone[x][1] == pytest.approx(118 * 2 / 302, abs=0.06)
    assert gone[x][0] + gone[x][1] == pytest.approx(y, abs=0.11)
    total = sum(height for _, height in gone.values())
    assert total == pytest.approx(118 * 600 / 302, abs=2)
    assert len(gone) > 12  # the billion did not squeeze them


def test_names_of_near_thresholds_do_not_overlap():
    """Two that stand side by side are written in two rows, two that are far apart in one."""
    names = [Threshold("below_the_average", 3.0), Threshold("above_the_average", 10.0)]
    near = re.findall(r'<text class="limit" x="[\d.]+" y="(\d+)"', histogram("a", np.linspace(4, 30, 9), names))
    far = re.findall(r'<text class="limit" x="[\d.]+" y="(\d+)"', histogram("a", np.linspace(4, 8, 9), names))
    assert (near, far) == (["11", "22"], ["11", "11"])


def test_the_dataset_card(out, tmp_path):
    """The hub's header is valid and `load_dataset` opens the rows by it; a card of somebody else is left alone."""
    text = Path(out, "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert (header["language"], header["license"], header["size_categories"]) == (["en"], "other", ["n<1K"])
    assert "<script" not in text.split("---\n")[2]
    rows = datasets.load_dataset(out, cache_dir=str(tmp_path))
    assert rows["train"].num_rows == Output(out).stages["shards"]["counts"]["train"]["rows"]
    copy = tmp_path / "README.md"
    run = Output(out)
    run.out = str(tmp_path)
    copy.write_text("Mine.\n")
    write_card(run)
    assert copy.read_text() == "Mine.\n"
    copy.write_text("\n".join(card_lines(run)).replace("# ", "# Old "))
    write_card(run)
    assert copy.read_text() == text


def dom(path):
    """Return the document as the browser has it after its scripts have run."""
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom",
        f"file://{path}",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")


@needs_browser
def test_hostile_text_does_not_execute(out, page):
    """In a browser the title is the name of the run, texts are text, and only web addresses are links."""
    shown = dom(Path(out, "report", "index.html"))
    assert html.unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL)[1]).startswith(HOSTILE[:30])
    assert "<img" not in shown
    assert shown.count("<script") == 2
    assert shown.count('class="quote"') == min(30, len(block(page)["documents"]))
    assert "<del>changed" in shown
    links = re.findall(r'<a href="([^"]*)"', shown.split("<main")[1])
    assert links
    assert all(link.startswith("https://") for link in links)


@needs_browser
def test_the_filter_and_a_phone(out, page, tmp_path):
    """Rule and words choose documents, more are shown on demand, and nothing is wider than a small phone."""
    probe = """
      const frame = document.querySelector("iframe"), told = {};
      frame.onload = () => {
        const d = frame.contentDocument, form = d.getElementById("filter"), W = frame.contentWindow;
        told.width = d.documentElement.scrollWidth;
        told.wide = [...d.querySelectorAll("main *")].filter(node => node.getBoundingClientRect().right > 361 &&
          !node.closest(".scroll, svg")).map(node => node.outerHTML.slice(0, 80)).slice(0, 5);
        const choose = (name, value) => {
          form.elements[name].value = value;
          form.dispatchEvent(new W.Event("input", {bubbles: true}));
          return d.querySelectorAll("#documents-found details").length;
        };
        told.all = choose("rule", "*");
        d.getElementById("documents-more").click();
        told.more = d.querySelectorAll("#documents-found details").length;
        told.focused = d.activeElement.tagName;
        told.language = choose("rule", "language");
        told.none = choose("words", "no such words");
        told.words = choose("words", "HUND UND");
        told.count = d.getElementById("documents-count").textContent;
        told.unnamed = [...d.querySelectorAll("select, input")].filter(field => !field.labels.length).length;
        document.title = JSON.stringify(told);
      };
      frame.srcdoc = JSON.parse(document.getElementById("page").textContent);
    """
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        f'<iframe width="360" height="800"></iframe><script type="application/json" id="page">{as_data_block(page)}'
        f"</script><script>{probe}</script>"
    )
    title = re.search(r"<title>(.*?)</title>", dom(wrapper), re.DOTALL)[1]
    told = json.loads(html.unescape(title))
    total = len(block(page)["documents"])
    assert (told["wide"], told["width"] <= 360) == ([], True)
    assert (told["all"], told["more"], told["focused"]) == (30, min(60, total), "SUMMARY")
    assert (told["language"], told["none"], told["words"], told["unnamed"]) == (1, 0, 1, 0)
    assert told["count"] == f"1 of {total} quoted documents"


class _Ledger:
    """As much of an Output as `Rejections` asks for: one stage with one unit."""

    out, source_of = "", {}

    def has(self, stage: str) -> bool:
        return stage == "clean"

    def records(self, stage: str) -> dict[str, SimpleNamespace]:
        return {stage: SimpleNamespace(rows=lambda table: 1)}

    def drawn(self, names: list[str]) -> list[str]:
        return names

    def find(self, ids: list[int]) -> dict[int, object]:
        return {}

    def unit_of(self, doc_id: int) -> None:
        return None


def test_what_is_quoted_of_a_ledger_does_not_depend_on_its_batches(monkeypatch):
    """Fifteen rows of each rule are drawn by their ids alone, and every value is kept in order."""
    rows = [{"doc_id": i, "stage": "clean", "rule": "abc"[i * i % 3], "value": i / 2} for i in range(400)]
    rows += [{"doc_id": 400, "stage": "clean", "rule": "rare"}]
    ledger = pa.RecordBatch.from_pylist(rows, schema=REJECTED)
    found = []
    for size in (401, 50, 1):
        batches = [ledger.slice(start, size) for start in range(0, 401, size)]
        monkeypatch.setattr(excerpts, "read_batches", lambda *_, batches=batches, **__: iter(batches))
        rejections = excerpts.Rejections(_Ledger())
        quoted = [(row["rule"], row["id"]) for row in rejections.documents()]
        found.append((quoted, {rule: values.tolist() for rule, values in rejections.values.items()}))
    assert found[0] == found[1] == found[2]
    quoted, values = found[0]
    assert collections.Counter(rule for rule, _ in quoted) == {"a": 15, "b": 15, "rare": 1}
    assert values["a"] == [i / 2 for i in range(0, 400, 3)]
    assert values["rare"] == []
