"""Engines: worker processes of a real scheduler give the hashes of one process, and what a cluster would be sent."""

import logging
import os
import subprocess
import sys

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.engine import build_graph
from pipeline.errors import UserError
from tests.conftest import ROOT
from tests.pipeline.corpus import column_hashes, counts, run_stages, write_config, write_corpus
from tests.pipeline.test_graph import caught_jobs
from transforms.unit import WorkUnit

DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run in one process, dedup by passes over run files."""
    directory = tmp_path_factory.mktemp("engines")
    write_corpus(directory / "corpus", per_file=40)
    run_stages(write_config(directory))
    return directory


@pytest.fixture
def cluster(monkeypatch):
    """The address of a scheduler on loopback with two worker processes."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(processes=True, silence_logs=logging.CRITICAL, **options) as cluster:
        yield cluster.scheduler_address


def test_worker_processes_of_a_cluster_give_the_same_hashes(undisturbed, tmp_path, cluster):
    """All stages on two processes of Dask, dedup by GroupByKey between them: the hashes of one process."""
    path = write_config(undisturbed, output=str(tmp_path / "out"), dedup={"shuffle": True})
    command = [sys.executable, "-m", "pipeline", "run", str(path), "--to", "tokenize", "--set", f"runner.engine={DASK}"]
    command += ["--", f"--dask_client_address={cluster}", "--dask_partition_size=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    assert column_hashes(tmp_path / "out") == column_hashes(undisturbed / "out")
    assert counts(tmp_path / "out") == counts(undisturbed / "out")


IMAGE = "registry.example/gristmill-beam:1"


def dataflow_job(job):
    """Return what Dataflow would be sent for `job`: built by its own runner, not submitted."""
    pytest.importorskip("google.cloud.dataflow")
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    options = {
        "project": "our-project",
        "region": "europe-west1",
        "job_name": job.stage,
        "temp_location": "gs://bucket/temp",
        "staging_location": "gs://bucket/staging",
        "sdk_container_image": IMAGE,
        "dry_run": "true",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    pipeline = beam.Pipeline(DataflowRunner(), options=PipelineOptions(arguments))
    build_graph(pipeline, job, [WorkUnit("u", 0, "k"), WorkUnit("v", 1, "k")])
    return pipeline.run().job.proto_pipeline


def coder_names(components, coder):
    """Return the names of a coder and of those inside it; of one written in Python its class."""
    proto = components.coders[coder]
    inner = [name for part in proto.component_coder_ids for name in coder_names(components, part)]
    if proto.spec.urn == "beam:coder:pickled_python:v1":
        return [type(beam.coders.Coder.from_runner_api(proto, None)).__name__, *inner]
    return [proto.spec.urn.split(":")[2], *inner]


def shuffles(proto):
    """Yield the name of each GroupByKey of a job and the names of the coders of what goes through it."""
    components = proto.components
    for transform in components.transforms.values():
        if transform.spec.urn == "beam:transform:group_by_key:v1":
            (collection,) = transform.inputs.values()
            yield transform.unique_name, coder_names(components, components.pcollections[collection].coder_id)


def test_what_dataflow_would_be_sent(tmp_path):
    """Our container, readable names, and nothing but labels of units, or batches of hashes by number, in a shuffle."""
    write_corpus(tmp_path / "corpus", files=1, per_file=40)
    jobs = caught_jobs(write_config(tmp_path, dedup={"url": True, "shuffle": True}))
    grouped = set()
    for name, job in jobs.items():
        proto = dataflow_job(job)
        assert {IMAGE.encode() in environment.payload for environment in proto.components.environments.values()} == {
            True
        }
        for label, coders in shuffles(proto):
            if "ReshufflePerKey" in label:
                assert label.startswith(("Units/", "Spread"))
                assert "RecordBatchCoder" not in coders
            else:
                assert coders == ["kv", "varint", "RecordBatchCoder"]
                grouped.add(name)
    assert {"clean", "tokenize", "shards"} < jobs.keys()
    assert grouped == {"dedup-identity", "dedup-links", "dedup-stars-0", "dedup-stars-1", "dedup-twins"}
    names = {t.unique_name for t in dataflow_job(jobs["clean"]).components.transforms.values()}
    assert {"ReadUnits", "Normalise", "Sign", "WriteUnits"} <= names


def test_an_output_that_workers_of_dataflow_cannot_reach(tmp_path):
    """Told before anything is read; each worker would write to a disk of its own."""
    pytest.importorskip("google.cloud.dataflow")
    with pytest.raises(UserError, match=r"runner.engine dataflow: its workers cannot write to .*give output as gs://"):
        run_stages(write_config(tmp_path), overrides=["runner.engine=dataflow"])
