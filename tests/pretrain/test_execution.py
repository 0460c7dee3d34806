"""How a run is computed: the race of attention kernels, and what a checkpoint keeps."""

import pytest
import torch
from torch.nn.attention import varlen

from pipeline.pretrain import autotune, execution
from pipeline.pretrain.architecture import architecture_of
from pipeline.pretrain.attention import BACKENDS
from pipeline.pretrain.autotune import race_backends, winner
from pipeline.pretrain.execution import choose_execution, compute_dtype
from pipeline.pretrain.rows import Rows
from pipeline.pretrain.settings import ATTENTIONS, Settings
from pipeline.pretrain.world import ALONE, World
from tests.reference.attention import attend_stream

ARCHITECTURE = architecture_of("modernbert-demo", vocab_size=50, positions=16, pad_id=0, width=16, heads=2)
LENGTHS_BP = torch.tensor([[5, 3, 0], [16, 0, 0]])


def _race():
    return race_backends(ARCHITECTURE, LENGTHS_BP, 16, dtype=torch.float32, backends=("sdpa", "varlen"))


def test_slow_kernel_loses(monkeypatch):
    """A right but slow kernel (the twin's loop) takes part and loses; the clock stands still but for its calls."""
    clock = [0.0]

    def slow(*args, **kwargs):
        clock[0] += 1.0
        return attend_stream(*args, **kwargs)

    monkeypatch.setattr(varlen, "varlen_attn", slow)
    monkeypatch.setattr(autotune, "_now", lambda device: clock[0])
    race = _race()
    assert winner(race.seconds) == "sdpa"
    assert not race.failures
    assert race.seconds == {"sdpa": (0.0, 0.0), "varlen": (1.0, 1.0)}  # one global and one local layer


def test_wrong_and_broken_kernels_are_out(monkeypatch):
    """A kernel that ignores documents, gives nan or raises is out, whatever its speed, and the reason is told."""

    def leaks(q, k, v, *args, **kwargs):
        return q * 0 + (k * 0 + v).mean(0)

    def nothing(q, k, v, *args, **kwargs):
        return (q + k + v) * float("nan")

    for kernel, reason in ((leaks, "off by"), (nothing, "off by nan"), (None, "TypeError")):
        monkeypatch.setattr(varlen, "varlen_attn", kernel)
        race = _race()
        assert winner(race.seconds) == "sdpa"
        assert reason in race.failures["varlen"]


def test_each_kind_of_layer_has_its_winner():
    """Global and local layers each take their fastest kernel, one that failed wins neither, BERT has no local ones."""
    slow, failed = (5.0, 5.0), (float("inf"), float("inf"))
    assert winner({"sdpa": slow, "varlen": (1.0, 3.0), "flex": (2.0, 2.0)}) == "varlen+flex"
    assert winner({"sdpa": slow, "varlen": (1.0, 1.0), "flex": (2.0, 2.0)}) == "varlen"
    assert winner({"sdpa": slow, "varlen": failed, "flex": (6.0, 2.0)}) == "sdpa+flex"
    assert winner({"sdpa": (2.0, 0.0), "varlen": failed, "flex": (1.0, 0.0)}) == "flex"
    bert = architecture_of("bert-tiny", vocab_size=50, positions=16, pad_id=0)
    race = race_backends(bert, LENGTHS_BP, 16, dtype=torch.float32, backends=("sdpa",))
    assert race.seconds["sdpa"][0] > 0
    assert race.seconds["sdpa"][1] == 0
    choices = (*BACKENDS, *(f"{whole}+{near}" for whole in BACKENDS for near in BACKENDS if whole != near))
    assert ("auto", *choices) == ATTENTIONS


def test_set_then_kept_then_chosen(out):
    """A setting wins over the checkpoint, the checkpoint over the choice by device."""
    rows = Rows(out / "shards" / "train")

    def choose(kept, **changed):
        return choose_execution(Settings(batch_rows=96, **changed), kept, ARCHITECTURE, rows, ALONE, print)

    first = choose({})
    assert (first.threads, first.micro_rows, first.attention, first.device) == (1, 96, "sdpa", "cpu")
    kept = {"threads": 2, "micro_rows": 12, "attention": "sdpa", "device": "cpu", "torch": "1", "compile": "no"}
    assert (choose(kept).threads, choose(kept).micro_rows, choose(kept).attention) == (2, 12, "sdpa")
    assert choose(kept, micro_rows=24).micro_rows == 24
    assert "threads 1 (was 2)" in first.differences(kept)
    assert not choose({}).differences({**kept, **{name: getattr(first, name) for name in kept}})


def test_rows_of_a_pass_fit_the_gpu(out, monkeypatch):
    """A large GPU gets 65,536 tokens at a time, a small one what its memory holds, and always a part of the batch."""
    rows, gpu = Rows(out / "shards" / "train"), World(0, 1, torch.device("cuda"))
    base = architecture_of("modernbert-base", vocab_size=50_368, positions=64, pad_id=0)

    monkeypatch.setattr(World, "least", lambda self, value: value)

    def chosen(free, kept=None, world=gpu, **changed):
        monkeypatch.setattr(execution, "free_bytes", lambda device: free)
        settings = Settings(batch_rows=3072, attention="sdpa", **changed)
        return choose_execution(settings, kept or {}, base, rows, world, print).micro_rows

    assert chosen(140 << 30) == 1536  # of 32 tokens; the batch has no divisor between that and 2048
    assert chosen(24 << 30) == 768
    assert chosen(24 << 30, precision="float32") == 384
    assert chosen(16 << 30, compile="no") < chosen(16 << 30)
    assert chosen(1 << 30) == 1
    assert chosen(5 << 30) < chosen(5 << 30, world=World(0, 4, torch.device("cuda")), shard=True)
    assert chosen(1 << 30, micro_rows=16) == 16
    assert chosen(1 << 30, {"micro_rows": 8, "device": "cuda", "compile": "model"}) == 8


def test_a_choice_is_kept_where_it_fits(out, monkeypatch):
    """Of another device nothing is kept, and no microbatch that the processes cannot share; GPU kernels stay there."""
    monkeypatch.setattr(execution, "free_bytes", lambda device: 1 << 35)
    monkeypatch.setattr(World, "least", lambda self, value: value)
    rows = Rows(out / "shards" / "train")
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    kept = {"threads": 3, "micro_rows": 8, "attention": "varlen+flex", "device": "cuda", "compile": "block"}

    def choose(world, **changed):
        return choose_execution(Settings(batch_rows=8, **changed), kept, ARCHITECTURE, rows, world, print)

    one = choose(World(0, 1, gpu))
    assert (one.threads, one.micro_rows, one.attention, one.compile) == (3, 8, "varlen+flex", "block")
    assert choose(World(0, 1, gpu), attention="sdpa").attention == "sdpa"
    assert choose(World(0, 2, gpu)).micro_rows == 4
    moved = choose(World(0, 1, cpu))
    assert (moved.threads, moved.micro_rows, moved.attention, moved.compile) == (1, 8, "sdpa", "no")
    for attention in ("flex", "sdpa+varlen"):
        with pytest.raises(ValueError, match="needs a GPU; on a CPU there is sdpa"):
            choose(World(0, 1, cpu), attention=attention)


def test_the_race_is_won_over_all_processes(out, monkeypatch):
    """What another process adds may make another kernel win, and the line that is said names it and who failed."""
    race = autotune.Race({"sdpa": (3.0, 3.0), "varlen": (1.0, 1.0), "flex": (2.0, 2.0)}, {"flex": "off by 1"})
    monkeypatch.setattr(execution, "race_backends", lambda *arguments, **options: race)
    monkeypatch.setattr(World, "sum_", lambda self, values: values + torch.tensor([[0.0, 0.0], [0.0, 9.0], [0.0, 0.0]]))
    said = []
    rows = Rows(out / "shards" / "train")
    chosen = execution._race(Settings(), ARCHITECTURE, rows, 4, World(0, 2, torch.device("cpu")), said.append)
    assert chosen == "varlen+flex"
    assert said[0].startswith("attention by varlen+flex (global + local layers): sdpa 3000.0 + 3000.0 ms; ")
    assert said[0].endswith("flex: off by 1")


def test_what_is_compiled(out, monkeypatch):
    """The model on a GPU, nothing on a CPU; a checkpoint's choice is kept there; sharded weights go by block."""
    monkeypatch.setattr(execution, "free_bytes", lambda device: 1 << 35)
    monkeypatch.setattr(World, "least", lambda self, value: value)
    rows = Rows(out / "shards" / "train")
    cpu, gpu, two = (
        World(0, 1, torch.device("cpu")),
        World(0, 1, torch.device("cuda")),
        World(0, 2, torch.device("cuda")),
    )

    def mode(world, kept=None, **changed):
        settings = Settings(batch_rows=96, attention="sdpa", **changed)
        return choose_execution(settings, kept or {}, ARCHITECTURE, rows, world, print).compile

    assert [mode(world) for world in (cpu, gpu, two)] == ["no", "model", "model"]
    assert [mode(world, shard=True) for world in (cpu, gpu, two)] == ["no", "model", "block"]
    assert mode(gpu, {"device": "cuda", "compile": "block"}) == "block"
    assert mode(gpu, {"device": "cpu", "compile": "no"}) == "model"
    assert mode(gpu, {"device": "cuda", "compile": "block"}, compile="model") == "model"
    assert mode(two, compile="no", shard=True) == "no"


def test_batch_must_divide(out):
    """Processes and microbatches that do not divide the batch are refused."""
    rows, three = Rows(out / "shards" / "train"), World(0, 3, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"32 rows cannot be shared by 3 processes"):
        choose_execution(Settings(batch_rows=32), {}, ARCHITECTURE, rows, three, print)
    assert choose_execution(Settings(batch_rows=96), {}, ARCHITECTURE, rows, three, print).micro_rows == 32
    with pytest.raises(ValueError, match=r"96 rows cannot be shared by 3 processes with microbatches of 48 rows"):
        choose_execution(Settings(batch_rows=96, micro_rows=48), {}, ARCHITECTURE, rows, three, print)


def test_dtype():
    """bfloat16 on a GPU by default, float32 on a CPU, and as set otherwise."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [compute_dtype(Settings(), device) for device in (cpu, gpu)] == [None, torch.bfloat16]
    assert compute_dtype(Settings(precision="bfloat16"), cpu) == torch.bfloat16
    assert compute_dtype(Settings(precision="float32"), gpu) is None
