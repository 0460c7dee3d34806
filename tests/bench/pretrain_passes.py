"""What torch.compile makes of a training step for an H200: its passes over memory and their bytes, without a GPU.

    python tests/bench/pretrain_passes.py [--model bert-base] [--vocab 30522] [--length 512] [--rate 0.15]
    python tests/bench/pretrain_passes.py --model modernbert-base --vocab 50368 --length 1024 --rate 0.3

The step is traced on the CPU and never run: forward and backward are lowered by Inductor as if its tensors lay on an
H200, up to the Triton code of every kernel. Bytes are those of the buffers that a kernel reads and writes, each once, a
token of the microbatch: what must move if nothing stays in a cache. Products and attention are listed by what they read
and write, too, but their time is that of their operations. A count, no measurement of time.

Needs PyTorch's CUDA build and Triton, as the machine that trains has them. It replaces what asks the driver, so it goes
with the versions that it names (2.11; 2.13 with a CUDA build), and says so if it does not.
"""

import argparse
import collections
import contextlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch._inductor import compile_fx
from torch._inductor.debug import DebugContext
from torch._inductor.graph import GraphLowering
from torch._inductor.ir import MultiOutput
from torch._inductor.virtualized import V
from torch._subclasses import fake_tensor
from torch.fx import GraphModule
from torch.fx.node import map_aggregate
from torch.nn.attention import flex_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.pretrain.architecture import Architecture, architecture_of
from pipeline.pretrain.attention import layout_of
from pipeline.pretrain.masking import Masked
from pipeline.pretrain.model import build_model
from pipeline.pretrain.objective import Microbatch, loss_sums
from pipeline.pretrain.settings import ATTENTIONS

GPU = torch.device("cuda", 0)
H200 = types.SimpleNamespace(
    name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, warp_size=32, total_memory=140 * 2**30,
    regs_per_multiprocessor=65_536, max_threads_per_multi_processor=2048, max_threads_per_block=1024,
    shared_memory_per_block=49_152, shared_memory_per_block_optin=232_448, shared_memory_per_multiprocessor=233_472,
    L2_cache_size=50 * 2**20,
)  # fmt: skip


class Pass(NamedTuple):
    """One kernel, or several that are alike.

    Attributes:
        backward: whether it belongs to the backward pass.
        name: the library's name of a product or attention, else the operations that were fused.
        extern: whether it is a library's.
        calls: how often.
        bytes: read and written in all calls.
    """

    backward: bool
    name: str
    extern: bool
    calls: int
    bytes: int


def _accept(*tensors: Tensor) -> None:
    """A plain function, as a mock cannot be traced."""


class _TracedError(Exception):
    """Ends the call whose graphs are all that is wanted."""


def count_passes(a: Architecture, *, length: int, rate: float, tokens: int, backend: str = "varlen") -> list[Pass]:
    """Return the passes of the microbatch of `tokens` in rows of `length`, `rate` of them masked, in their order."""
    passes = []
    for backward, graph, inputs in _trace(a, length, rate, tokens, backend):
        with _pretended(), torch.no_grad():
            passes += _lower(graph, inputs, backward=backward)
    return passes


def kept_bytes(a: Architecture, *, length: int, rate: float, tokens: int) -> int:
    """Return the bytes that the forward pass of such a microbatch makes and keeps for the backward pass."""
    _, graph, _ = next(_trace(a, length, rate, tokens, "varlen"))
    sizes: dict[int, int] = {}
    for node in (graph.graph.output_node(), *(node for node in graph.graph.nodes if node.op == "placeholder")):
        for one in node.args[0] if node.op == "output" else [node]:
            value = one.meta.get("val") if isinstance(one, torch.fx.Node) else None
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                sizes[storage._cdata] = storage.nbytes() if node.op == "output" else 0
    return sum(sizes.values())


def alike(passes: list[Pass]) -> list[Pass]:
    """Return `passes` with those of one name and direction added up, the most bytes first."""
    sums: dict[tuple[bool, str, bool], list[int]] = collections.defaultdict(lambda: [0, 0])
    for one in passes:
        total = sums[one.backward, one.name, one.extern]
        total[0] += one.calls
        total[1] += one.bytes
    return sorted((Pass(*key, *total) for key, total in sums.items()), key=lambda one: -one.bytes)


def _trace(
    a: Architecture, length: int, rate: float, tokens: int, backend: str
) -> Iterator[tuple[bool, GraphModule, list[Any]]]:
    """Return the two graphs as Inductor gets them, and what they take: tensors of the CPU, of which nothing is read."""
    graphs: list[GraphModule] = []
    split = compile_fx.partition_fn

    def keep(joint: GraphModule, inputs: Any, **options: Any) -> tuple[GraphModule, GraphModule]:
        graphs.extend(split(joint, inputs, **options))
        return graphs[0], graphs[1]

    def stop(graph: GraphModule, inputs: Any, **options: Any) -> Any:
        raise _TracedError

    model = build_model(a, seed=0)
    num_rows, num_slots = tokens // length, -int(-rate * length // 1)
    ids_BS = torch.full((num_rows, length), 5)
    slots_BK = torch.arange(num_slots).repeat(num_rows, 1)
    masked = Masked(ids_BS, slots_BK, ids_BS.gather(1, slots_BK), torch.ones(num_rows, num_slots))
    lengths_BP = torch.tensor([length // 2, length - length // 2]).repeat(num_rows, 1)
    layout = layout_of(lengths_BP, length, a.local_window, backend)
    step = torch.compile(
        loss_sums, dynamic=False, fullgraph=True,
        backend=lambda graph, inputs: compile_fx.compile_fx(graph, inputs, inner_compile=stop),
    )  # fmt: skip
    with (
        mock.patch.object(compile_fx, "partition_fn", keep),
        mock.patch.object(flex_attention, "_validate_device", _accept),  # it knows no backward pass on a CPU
    ):
        try:
            step(model, Microbatch(masked, lengths_BP, None, None), layout, torch.bfloat16)
        except Exception:
            if len(graphs) != 2:
                raise
    for backward, graph in enumerate(graphs):
        yield bool(backward), graph, [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]


def _lower(graph: GraphModule, inputs: list[Any], *, backward: bool) -> list[Pass]:
    """Return what Inductor makes of `graph` moved to the GPU, down to the code of its kernels."""
    tensors = fake_tensor.FakeTensorMode(allow_non_fake_inputs=True)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with tensors:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=GPU)

    for part in graph.modules():
        if isinstance(part, GraphModule):
            for node in part.graph.nodes:
                node.args, node.kwargs = (
                    map_aggregate(given, lambda x: GPU if isinstance(x, torch.device) else x)
                    for given in (node.args, node.kwargs)
                )
                if "val" in node.meta:
                    node.meta["val"] = None if part is graph else moved(node.meta["val"])
            part.recompile()
    inputs = [moved(value) for value in inputs]
    with V.set_fake_mode(tensors):
        compile_fx.view_to_reshape(graph)
        compile_fx.fake_tensor_prop(graph, inputs, force_allow_non_fake_inputs=True)
        compile_fx._recursive_record_original_output_strides(graph)
        compile_fx._recursive_post_grad_passes(graph, is_inference=False)
        lowered = GraphLowering(graph, example_inputs=inputs, is_backward=backward, is_inference=False)
        with V.set_graph_handler(lowered), V.set_extern_kernel_nodes([]), DebugContext():
            lowered.run(*inputs)
            lowered.codegen()
            return [
                Pass(backward, _name(node), node.is_extern(), 1, node.get_read_write_buffers_sizes())
                for node in lowered.scheduler.nodes
                if not isinstance(node.node, MultiOutput)  # one of the results of the kernel before
            ]


def _name(node: Any) -> str:
    """Return the library's name of a kernel, else the operations in it."""
    if node.is_extern() and getattr(node.node, "python_kernel_name", None):
        return str(node.node.python_kernel_name)
    origins = {origin.target for part in node.get_nodes() if part.node for origin in part.node.get_origins()}
    packets = {getattr(target, "_overloadpacket", target) for target in origins}
    return ", ".join(sorted({getattr(packet, "__name__", str(packet)) for packet in packets}))


@contextlib.contextmanager
def _pretended() -> Iterator[None]:
    """Let PyTorch and Triton find an H200, as far as they must to write code for it."""
    from torch._dynamo.device_interface import CudaInterface
    from torch._inductor import scheduler
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    active = types.SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        get_active_torch_device=lambda: GPU,
    )
    answers = {
        torch.cuda: {
            "is_available": lambda: True, "_lazy_init": lambda: None, "device_count": lambda: 1,
            "current_device": lambda: 0, "device": contextlib.nullcontext,
            "get_device_properties": lambda device=None: H200, "get_device_capability": lambda device=None: (9, 0),
            "is_bf16_supported": lambda *arguments, **options: True,
        },
        CudaInterface: {
            "is_available": lambda: True, "get_compute_capability": lambda device=None: 90,
            "get_device_properties": lambda device=None: H200, "current_device": lambda: 0,
            "is_bf16_supported": lambda *arguments, **options: True,
        },
        CudaInterface.Worker: {"get_device_properties": lambda device=None: H200, "current_device": lambda: 0},
        fake_tensor: {"init_gpu_context": lambda device: None},
        scheduler: {"has_triton": lambda *arguments: True},
        driver: {"_active": active},
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        for owner, names in answers.items():
            for name, answer in names.items():
                method = isinstance(owner, type)
                stack.enter_context(mock.patch.object(owner, name, staticmethod(answer) if method else answer))
        yield


def main() -> None:
    """Print the passes, the most bytes first, their sums, and what is kept in memory."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="bert-base")
    options.add_argument("--vocab", type=int, default=30_522)
    options.add_argument("--layers", type=int)
    options.add_argument("--length", type=int, default=512, help="tokens in a row")
    options.add_argument("--rate", type=float, default=0.15, help="share of masked tokens")
    options.add_argument("--micro-tokens", type=int, default=65_536, help="tokens in one forward pass")
    options.add_argument("--attention", default="varlen", choices=ATTENTIONS[1:])
    options.add_argument("--json", type=Path, help="write the table here as well")
    given = options.parse_args()
    if torch.version.cuda is None:
        options.error("needs PyTorch's CUDA build (a GPU it does not need)")
    a = architecture_of(given.model, vocab_size=given.vocab, positions=2 * given.length, pad_id=0, layers=given.layers)
    passes = alike(
        count_passes(a, length=given.length, rate=given.rate, tokens=given.micro_tokens, backend=given.attention)
    )
    print(f"{given.model}, torch {torch.__version__}: KB a token, calls, pass (X: a library's)")
    for one in passes:
        kilobytes = one.bytes / given.micro_tokens / 1e3
        if kilobytes >= 0.01:
            where, whose = "back" if one.backward else "on", "X" if one.extern else " "
            print(f"{kilobytes:10.2f}  {one.calls:4}  {where:4} {whose} {one.name}")
    for extern in (False, True):
        total = sum(one.bytes for one in passes if one.extern == extern) / given.micro_tokens / 1e3
        print(f"{total:10.2f}  {'products and attention' if extern else 'passes of the compiler'}")
    kept = kept_bytes(a, length=given.length, rate=given.rate, tokens=given.micro_tokens)
    print(f"{kept / 2**30:10.2f}  GiB are kept for the backward pass")
    if given.json:
        given.json.write_text(json.dumps([one._asdict() for one in passes], indent=1))


if __name__ == "__main__":
    main()
