"""What a training step must cost on one GPU: operations and bytes a layer, and the tokens a second that follow.

    python tests/bench/pretrain_roofline.py [--json FILE]

A calculation, no measurement: it is written down before the GPU is asked, and runs anywhere. Time is the sum of three
that do not overlap: matrix products at `--gemm` FLOP/s (768-wide ones have few steps along their inner side), attention
at `--attention` FLOP/s of whole tiles (its exponentials bound it at heads of 64), passes over the stream at `--bytes` a
second. Every row of the ladder of `pretrain_gpu.py` is told apart by what it computes and moves.

Bytes are those of the passes that torch.compile makes of the model, as `pretrain_passes.py` counts them; what products
and attention read and write is in their rates. Without compiling each elementwise operation is a pass of its own.

Shapes: D width, F inner width of the MLP, V vocabulary, all a token.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.pretrain.architecture import Architecture, architecture_of
from pipeline.pretrain.flops import Work, attended_pairs, training_flops
from pipeline.pretrain.model import num_parameters

SHEET_PEAK, MEASURED_PEAK = 989e12, 790e12
# model, vocabulary, tokens a row, share masked, floor and goal in tokens a second
CASES = (
    ("bert-base", 30_522, 512, 0.15, 605e3, 806e3),
    ("modernbert-base", 50_368, 1024, 0.30, 431e3, 575e3),
)
# Documents in a row, as in the generated rows of `pretrain_gpu.py`: keys in sight, of those of the whole row.
DOCUMENT_SHARE = {512: 0.83, 1024: 0.68}
# In those rows, pairs in tiles of 128 queries and 128 keys that begin with their document, of pairs in sight: in global
# and in local layers. 128 queries with a window of 129 see 256 keys, in three tiles.
TILES = {512: (1.29, 2.98), 1024: (1.23, 3.05)}


class Cost(NamedTuple):
    """Of one token, forward and backward."""

    products: float
    attention: float
    bytes: float


class Way(NamedTuple):
    """One row of the ladder."""

    name: str
    dense_head: bool
    whole_last_layer: bool
    fused: bool
    dense_attention: bool = False


LADDER = (
    Way("eager, dense head", dense_head=True, whole_last_layer=True, fused=False),
    Way("eager, whole last layer", dense_head=False, whole_last_layer=True, fused=False),
    Way("eager", dense_head=False, whole_last_layer=False, fused=False),
    Way("whole last layer", dense_head=False, whole_last_layer=True, fused=True),
    Way("model compiled, sdpa", dense_head=False, whole_last_layer=False, fused=True, dense_attention=True),
    Way("model compiled, varlen or flex", dense_head=False, whole_last_layer=False, fused=True),
)


def layer_cost(a: Architecture, *, pairs: float, share: float, fused: bool) -> Cost:
    """Return the cost of one layer.

    Args:
        a: the model's numbers.
        pairs: keys that the kernel computes for each query.
        share: of the tokens that go through queries, output and MLP; keys and values are made of all.
        fused: whether a chain of elementwise operations is one pass.
    """
    gated = a.family == "modernbert"
    inner = a.feed_forward * (3 if gated else 2)
    products = 6 * (2 * a.width**2 + share * (2 * a.width**2 + inner * a.width))
    stream, wide = 2 * a.width, 2 * a.feed_forward  # bytes of bfloat16
    # Residual and norm, twice a layer. Forward: two in, their sum and its norm out; backward: two gradients and the sum
    # in, one out. Each operation for itself: the sum apart, and gradients of the weights once more.
    norms = 2 * stream * (4 + 4 if fused else 5 + 5)
    # Activation. GELU: in and out, then gradient and input in, gradient out. Gated: two in and one out, three in and
    # two out; each for itself, the product is a pass more both ways.
    activation = wide * ((3 + 5) if gated else (2 + 3)) * (1 if fused else 1.6 if gated else 1)
    # Gradients of queries, keys and values are put side by side: three in, three out. Where they are rotated it is the
    # same pass, and forward one of two in and two out; cosines and sines are float32 and read five times. Not fused:
    # halves, products and sums for themselves.
    joined = 6 * stream
    if gated:
        joined = joined + 4 * stream + 5 * 8 * a.head_width if fused else 2 * 4 * stream * 4
    # Gradients of the biases are read once more: of queries, keys and values, of both outputs, of the inner width.
    bias = 0.0 if gated else 5 * stream + wide
    return Cost(products, 12 * a.width * pairs * share, share * (norms + activation) + joined + bias)


def step_cost(a: Architecture, way: Way, *, length: int, rate: float, micro_tokens: int = 65_536) -> Cost:
    """Return the cost of one token of a step, of which a microbatch has `micro_tokens`."""
    full, local = (float(pairs) / length for pairs in attended_pairs(torch.tensor([[length]]), a.window // 2))
    documents = DOCUMENT_SHARE[length]
    costs = []
    for layer in range(a.layers):
        if way.dense_attention:
            pairs = full
        elif a.is_global(layer):
            pairs = full * documents * TILES[length][0]
        else:
            pairs = min(local, full * documents) * TILES[length][1]
        last = layer == a.layers - 1 and not way.whole_last_layer
        costs.append(layer_cost(a, pairs=pairs, share=rate if last else 1.0, fused=way.fused))
    predicted = 1.0 if way.dense_head else rate
    head = Cost(
        6 * predicted * (a.width**2 + a.width * a.vocab_size),
        0.0,
        # Logits: read by the loss, read again and their gradient written, which the bias reads; plain loss in float32.
        predicted * a.vocab_size * (2 * 4 if way.fused else 2 + 4 * 6),
    )
    # Weights cast to bfloat16 (4 + 2 bytes), gradients cast and added up in float32 (2 + 4 + 4 + 4), once a microbatch;
    # embedding gathered and its gradient scattered.
    weights = Cost(0.0, 0.0, num_parameters(a) * 20 / micro_tokens + 3 * 4 * a.width)
    return Cost(*(sum(parts) for parts in zip(*costs, head, weights, strict=True)))


def table(gemm: float, attention: float, rate_bytes: float) -> list[dict[str, float | str]]:
    """Return one row for each way of each case."""
    rows = []
    for model, vocab, length, rate, floor, goal in CASES:
        a = architecture_of(model, vocab_size=vocab, positions=length, pad_id=0)
        full, local = (float(pairs) for pairs in attended_pairs(torch.tensor([[length]]), a.window // 2))
        documents = DOCUMENT_SHARE[length]
        useful = training_flops(a, Work(rate * length, length, full * documents, min(local, full * documents))) / length
        for way in LADDER:
            cost = step_cost(a, way, length=length, rate=rate)
            # Without compiling, launching some 30 kernels a layer and pass hides behind 65,536 tokens of work.
            microseconds = [1e6 * x for x in (cost[0] / gemm, cost[1] / attention, cost[2] / rate_bytes)]
            tokens = 1e6 / sum(microseconds)
            rows.append(
                {"model": model, "way": way.name}
                | {"MFLOP products": cost[0] / 1e6, "MFLOP attention": cost[1] / 1e6, "KB": cost[2] / 1e3}
                | dict(zip(("us products", "us attention", "us bytes"), microseconds, strict=True))
                | {"tokens/s": tokens, "useful TFLOP/s": useful * tokens / 1e12}
                | {"of 989": useful * tokens / SHEET_PEAK, "of 790": useful * tokens / MEASURED_PEAK}
                | {"of the floor": tokens / floor, "of the goal": tokens / goal}
            )
    return rows


def main() -> None:
    """Print the layers and the ladder."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gemm", type=float, default=620e12, help="FLOP/s of a 768-wide product")
    options.add_argument("--attention", type=float, default=300e12, help="FLOP/s, forward and backward")
    options.add_argument("--bytes", type=float, default=4.0e12, help="bytes a second of a pass over the stream")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    print("a token of one whole layer, compiled   MFLOP products  attention      KB  FLOP a byte")
    for model, vocab, length, *_ in CASES:
        a = architecture_of(model, vocab_size=vocab, positions=length, pad_id=0)
        full, local = (float(pairs) / length for pairs in attended_pairs(torch.tensor([[length]]), a.window // 2))
        for kind, pairs in {"global": full * DOCUMENT_SHARE[length], "local": local}.items():
            if kind == "local" and a.family == "bert":
                continue
            cost = layer_cost(a, pairs=pairs, share=1.0, fused=True)
            numbers = (cost.products / 1e6, cost.attention / 1e6, cost.bytes / 1e3, sum(cost[:2]) / cost.bytes)
            print(f"{model + ', ' + kind:38}" + "".join(f"{number:>13.1f}" for number in numbers))
    rows = table(given.gemm, given.attention, given.bytes)
    for row in [dict.fromkeys(rows[0]), *rows]:
        cells = (f"{x:,.3g}" if isinstance(x, float) and x < 1000 else f"{x:,.0f}" if isinstance(x, float) else x
                 for x in row.values())  # fmt: skip
        print("  ".join(f"{cell or name:>{max(len(name), 9)}}" for name, cell in zip(row, cells, strict=True)))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
