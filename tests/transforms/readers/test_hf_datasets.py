"""transforms.readers.hf_datasets: what the library opens, on local directories."""

import json
import threading
import types

import datasets
import pytest
from tqdm import tqdm

from tests.transforms.readers.reading import read, source_of, texts_and_rules
from transforms.readers.dispatch import read_slice
from transforms.readers.listing import list_files, slices


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def corpus(root, count=3):
    root.mkdir()
    for shard in range(count):
        lines = (json.dumps({"text": f"{shard}.{row}", "url": "u", "n": row}) + "\n" for row in range(5))
        (root / f"train-{shard}.jsonl").write_text("".join(lines))
    (root / "test-0.jsonl").write_text('{"text": "only a test"}\n')
    return root


def test_directory_is_streamed_by_shard(tmp_path):
    """Each data file of a local directory is a shard with ids of its own; columns become fields."""
    root = corpus(tmp_path / "corpus")
    entries = list_files(source_of(root, "datasets"))
    assert [entry.path for entry in entries] == [f"{root}#{shard:05d}-of-00003" for shard in range(3)]
    rows = read(root, "datasets")
    assert [row["text"] for row in rows] == [f"{shard}.{row}" for shard in range(3) for row in range(5)]
    assert rows[6]["location"] == f"{root}#00001-of-00003#1"
    assert (rows[6]["url"], json.loads(rows[6]["metadata"])) == ("u", {"n": 1})
    assert len({row["doc_id"] for row in rows}) == 15
    assert texts_and_rules(read(root, "datasets", split="test")) == ["only a test"]


def test_etag_follows_the_data(tmp_path):
    """A changed data file is another version of the dataset."""
    root = corpus(tmp_path / "corpus", 1)
    before = list_files(source_of(root, "datasets"))
    assert list_files(source_of(root, "datasets")) == before
    (root / "train-0.jsonl").write_text('{"text": "other"}\n')
    assert list_files(source_of(root, "datasets"))[0].etag != before[0].etag


@pytest.mark.parametrize("split", [None, "train"])
def test_saved_dataset(tmp_path, split):
    """What save_to_disk wrote, alone or in a dictionary of splits, is read from its Arrow files."""
    saved = datasets.Dataset.from_dict({"text": [str(row) for row in range(10)], "n": list(range(10))})
    if split:
        datasets.DatasetDict({"train": saved, "test": saved.select([0])}).save_to_disk(
            tmp_path / "saved", num_shards={"train": 2, "test": 1}
        )
    else:
        saved.save_to_disk(tmp_path / "saved", num_shards=2)
    source = source_of(tmp_path / "saved", "datasets", split=split)
    assert [entry.size > 0 for entry in list_files(source)] == [True, True]
    rows = read(source.path, "datasets", split=split)
    assert [row["text"] for row in rows] == [str(row) for row in range(10)]
    assert json.loads(rows[9]["metadata"]) == {"n": 9}
    assert rows[9]["location"].endswith("data-00001-of-00002.arrow#4")


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (corpus, {"split": "dev"}, "dev"),
        (corpus, {"config": "nope"}, "nope"),
        (lambda root: root.mkdir() or root, {}, "data"),
    ],
)
def test_mistakes_are_one_line(tmp_path, make, fields, message):
    """An unknown split or configuration and an empty directory are a ValueError of one line."""
    root = make(tmp_path / "corpus")
    with pytest.raises(ValueError, match=message) as error:
        list_files(source_of(root, "datasets", **fields))
    assert "\n" not in str(error.value)


def test_unknown_split_of_saved(tmp_path):
    """The splits that there are stand in the message."""
    one = datasets.Dataset.from_dict({"text": ["a"]})
    datasets.DatasetDict({"a": one, "b": one}).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match="no split 'train', but a, b"):
        list_files(source_of(tmp_path / "saved", "datasets"))


def test_hub_revision_is_pinned(tmp_path, monkeypatch):
    """The commit that the hub has at plan time stands in the path, and is what the reader asks for."""
    root = corpus(tmp_path / "corpus", 1)
    asked = []
    load = datasets.load_dataset_builder

    def load_builder(path, *, revision, **rest):
        asked.append((path, revision))
        return load(str(root), **rest)

    monkeypatch.setattr(datasets, "load_dataset_builder", load_builder)
    monkeypatch.setattr(
        "transforms.readers.hf_datasets.HfApi.dataset_info",
        lambda *_, revision: types.SimpleNamespace(sha=("0" if revision is None else "1") * 40),
    )
    source = source_of("org/name", "datasets")
    (entry,) = list_files(source)
    assert entry.path == f"org/name@{'0' * 40}#00000-of-00001"
    (part,) = slices(source, entry, file=0, unit_bytes=1)
    assert sum(batch.num_rows for batch in read_slice(source, part)) == 5
    assert asked == [("org/name", "0" * 40)] * 2
    (entry,) = list_files(source_of("org/name", "datasets", revision="v1"))
    assert entry.path.startswith(f"org/name@{'1' * 40}#")


def test_damage_costs_the_rest_of_the_shard(tmp_path):
    """What the library cannot read is one row; the other shards come out."""
    root = corpus(tmp_path / "corpus", 2)
    (root / "train-0.jsonl").write_bytes(b'{"text": "a"}\n{"text": \xff\n')
    rows = read(root, "datasets")
    assert texts_and_rules(rows) == ["<corrupt_dataset>", *(f"1.{row}" for row in range(5))]


def test_changed_number_of_shards_is_an_error(tmp_path):
    """A dataset that was cut in another way since the plan gives no documents under wrong ids."""
    root = corpus(tmp_path / "corpus", 2)
    source = source_of(root, "datasets")
    (part, _) = (slices(source, entry, file=0, unit_bytes=1)[0] for entry in list_files(source))
    (root / "train-2.jsonl").write_text('{"text": "late"}\n')
    with pytest.raises(OSError, match="has 3 shards now, and had 2"):
        list(read_slice(source, part))


def test_bars_leave_no_semaphore():
    """A lock of the system would outlive a worker that is killed, and be complained of at the end of each run."""
    assert isinstance(tqdm.get_lock(), type(threading.RLock()))
