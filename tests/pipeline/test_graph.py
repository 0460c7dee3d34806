"""The graphs: every edge typed, no text through a shuffle, one fused chain from reader to writer."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.pipeline import PipelineVisitor
from apache_beam.typehints import typehints

from pipeline import clean, dedup, tokenize
from pipeline.engine import build_graph
from pipeline.job import Job
from tests.pipeline.corpus import run_stages, write_config, write_corpus
from transforms.batch import BatchKey
from transforms.unit import WorkUnit

SHUFFLES = ("Flatten", "GroupByKey", "Reshuffle", "CoGroupByKey")


class Edges(PipelineVisitor):
    """Collects (full label, transform class, input types, output types)."""

    def __init__(self):
        self.found = []

    def _visit(self, node):
        inputs = [value.element_type for value in node.inputs if isinstance(value, beam.pvalue.PCollection)]
        outputs = [value.element_type for value in node.outputs.values()]
        self.found.append((node.full_label, type(node.transform).__name__, inputs, outputs))

    visit_transform = _visit
    enter_composite_transform = _visit


CREATE = ("Units/", "Worker/")  # where a graph begins
UNITS = (WorkUnit("u", 0, "k"), WorkUnit("v", 1, "k"))


def edges_of(job, units=UNITS):
    pipeline = beam.Pipeline("FnApiRunner")
    build_graph(pipeline, job, units)
    edges = Edges()
    pipeline.visit(edges)
    return edges.found


def is_untyped(kind):
    return kind is None or isinstance(kind, typehints.AnyTypeConstraint) or kind is typehints.Any


def untyped(found):
    """Edges of our own transforms whose elements Beam would pickle. Beam's Create is typed only where it ends."""
    return [label for label, _, _, outputs in found if not label.startswith(CREATE) and any(map(is_untyped, outputs))]


def text_shuffles(found):
    return [
        label
        for label, name, inputs, _ in found
        if any(word in name for word in SHUFFLES)
        and any("RecordBatch" in str(kind) or is_untyped(kind) for kind in inputs)
        and not label.startswith("Units/")
    ]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The jobs of a whole run, as the driver makes them."""
    directory = tmp_path_factory.mktemp("graph")
    write_corpus(directory / "corpus", files=1, per_file=40)
    language = {"keep": ["en"], "threshold": 0.0}
    return caught_jobs(write_config(directory, clean={"language": language, "quality": ["gopher-quality"]}))


def caught_jobs(path, **options):
    """Run, and return the jobs by stage."""
    caught = []

    def remember(engine, out, job, units, *others):
        if units:  # a job that the configuration does not have is brought to none
            caught.append(job)
        return original(engine, out, job, units, *others)

    import pipeline.context

    original, pipeline.context.run_job = pipeline.context.run_job, remember
    try:
        run_stages(path, **options)
    finally:
        pipeline.context.run_job = original
    return {job.stage: job for job in caught}


def test_all_jobs_are_looked_at(jobs):
    """A stage that is added is looked at too."""
    assert set(jobs) == {
        "clean", "dedup-runs", "dedup-identity", "dedup-origins", "dedup-links", "dedup-clusters", "dedup",
        "tokenizer-sizes", "tokenizer-words", "tokenizer", "tokenize", "validation-bands", "validation-near", "shards",
    }  # fmt: skip


def test_every_edge_is_typed_and_no_text_is_shuffled(jobs):
    """An untyped edge would pickle a batch with its parent buffer; a shuffle would hold all the text."""
    for job in jobs.values():
        for units in (UNITS, None):
            found = edges_of(job, units)
            assert untyped(found) == []
            assert text_shuffles(found) == []


def test_nothing_stands_between_the_steps_of_a_worker(jobs):
    """What a worker is dealt is done when the next unit is asked for: its graphs have no shuffle and no Flatten."""
    for job in jobs.values():
        found = edges_of(job, None)
        shuffles = [label for label, name, _, _ in found if any(word in name for word in SHUFFLES)]
        assert [label for label in shuffles if not label.startswith(CREATE)] == []


def test_the_shuffle_of_dedup_is_typed_and_carries_no_text(tmp_path):
    """The form for many machines groups batches of hashes and edges by a number; documents are not even read."""
    write_corpus(tmp_path / "corpus", files=1, per_file=40)
    jobs = caught_jobs(write_config(tmp_path, dedup={"url": True, "shuffle": True}), last="dedup")
    shuffled = {"dedup-identity", "dedup-links", "dedup-stars-0", "dedup-stars-1", "dedup-twins"}
    assert shuffled <= jobs.keys()
    for name in shuffled:
        found = edges_of(jobs[name])
        assert untyped(found) == []
        grouped = [inputs for _, kind, inputs, _ in found if kind == "GroupByKey"]
        assert [typehints.Tuple[int, pa.RecordBatch]] in grouped
        assert "documents" not in "".join(label for label, *_ in found)


def test_the_clean_chain_carries_keyed_batches(jobs):
    """Reader, normaliser, language, quality and signature all hand on (BatchKey, RecordBatch)."""
    expected = typehints.Tuple[BatchKey, pa.RecordBatch]
    chain = [outputs for _, name, _, outputs in edges_of(jobs["clean"]) if name == "ParDo"]
    assert sum(outputs == [expected] for outputs in chain) == 5


def _opaque(unit):
    return unit.slices[0].no_such_method()


def _untyped_graph(units, context):
    batches = units | beam.Map(_opaque)
    batches | beam.Reshuffle()


def test_the_tests_see_an_offence():
    """An untyped Map and a Reshuffle behind it are both found."""
    found = edges_of(Job("bad", _untyped_graph, None))
    assert untyped(found) != []
    assert text_shuffles(found) != []


def test_stages_name_their_graphs():
    """The graphs are module-level functions, so jobs pickle by reference."""
    for function in (clean.graph, tokenize.graph, dedup.run):
        assert function.__qualname__ == function.__name__
