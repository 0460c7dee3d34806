"""Attention within the documents of packed rows, by three kernels that agree.

`sdpa` takes a dense mask: exact anywhere, quadratic in the row, the one for CPUs. `varlen` (FlashAttention over a
stream of documents) and `flex` (FlexAttention with a block mask) skip what the mask would hide; both are for GPUs.
Global and local layers may take different ones: `varlen+flex`.
Shapes: B rows, S tokens a row, P pieces (documents) a row at most, Q queries a row, H heads, E width of a head,
N = B * (P + 1) documents of a batch, padding included.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import varlen
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

BACKENDS = ("sdpa", "varlen", "flex")


def kernels_of(attention: str) -> tuple[str, str]:
    """Return the kernels of global and of local layers that `attention` names."""
    whole, _, near = attention.partition("+")
    return whole, near or whole


class Layout(NamedTuple):
    """Where the tokens of packed rows sit, made once a microbatch and read by every layer.

    Attributes:
        position_BS: int64, position of a token in its document.
        document_BS: int64, number of its document in the row; padding is a document of its own, numbered P.
        full: what the kernel of global layers needs to attend to the whole document: a bool mask [B, 1, S, S], int32
            [N + 1] offsets of the documents in the stream, or a block mask.
        local: the same for local layers, keys at most `half` away; `full` itself where there is no difference.
        half: half of the local window.
        num_pieces: P.
        kernels: of global and of local layers, of `BACKENDS`.
    """

    position_BS: Tensor
    document_BS: Tensor
    full: Any
    local: Any
    half: int
    num_pieces: int
    kernels: tuple[str, str]


def layout_of(lengths_BP: Tensor, num_tokens: int, window: int | None, attention: str = "sdpa") -> Layout:
    """Return the layout of rows of `num_tokens` tokens.

    No value is read back from the device, and shapes depend on B, P and `num_tokens` only.

    Args:
        lengths_BP: integer, lengths of the pieces of each row, 0 after the last one.
        num_tokens: S.
        window: local attention sees keys at most `window // 2` away; None where no layer is local.
        attention: one of `BACKENDS`, or two as `varlen+flex`.
    """
    num_rows, num_pieces = lengths_BP.shape
    ends_BP = lengths_BP.long().cumsum(1)
    starts_BP1 = functional.pad(ends_BP, (1, 0))
    index_BS = torch.arange(num_tokens, device=lengths_BP.device).expand(num_rows, num_tokens)
    document_BS = torch.searchsorted(ends_BP, index_BS.contiguous(), right=True)
    position_BS = index_BS - starts_BP1.gather(1, document_BS)
    half = num_tokens if window is None else window // 2
    whole, near = kernels = kernels_of(attention)
    full = _plan(whole, document_BS, num_pieces, None)
    reach = half if num_tokens > half + 1 else None
    same = window is None or (near == whole and (reach is None or near == "varlen"))
    local = full if same else _plan(near, document_BS, num_pieces, reach)
    return Layout(position_BS, document_BS, full, local, half, num_pieces, kernels)


def _plan(kernel: str, document_BS: Tensor, num_pieces: int, reach: int | None) -> Any:
    """Return what `kernel` must know of the documents, and of keys more than `reach` away (None: all are in reach)."""
    if kernel == "varlen":  # it has a window of its own
        return _offsets_of(document_BS, num_pieces)
    return (_block_mask if kernel == "flex" else _dense_mask)(document_BS, reach)


def attend(
    q_BQHE: Tensor, k_BSHE: Tensor, v_BSHE: Tensor, layout: Layout, *, is_global: bool, slots_BQ: Tensor | None
) -> Tensor:
    """Return softmax(q k^T / sqrt(E)) v over the keys of the query's document, [B, Q, H * E].

    Args:
        q_BQHE: queries of all tokens, or of those at `slots_BQ` where `can_gather` allows it.
        k_BSHE: keys of all tokens.
        v_BSHE: values of all tokens.
        layout: of the rows.
        is_global: False for keys at most `layout.half` away.
        slots_BQ: ascending positions of the queries; None for all.
    """
    kernel, plan = (layout.kernels[0], layout.full) if is_global else (layout.kernels[1], layout.local)
    if kernel == "varlen":
        return _attend_stream(q_BQHE, k_BSHE, v_BSHE, layout, is_global=is_global, slots_BQ=slots_BQ)
    q, k, v = (heads.transpose(1, 2) for heads in (q_BQHE, k_BSHE, v_BSHE))
    if kernel == "flex":
        mixed_BHQE = _flex_kernel(q)(q, k, v, block_mask=plan)
    else:
        mask = plan if slots_BQ is None else take_queries(plan, slots_BQ)
        mixed_BHQE = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed_BHQE.transpose(1, 2).flatten(2)


def can_gather(layout: Layout, *, is_global: bool) -> bool:
    """Whether `attend` takes a part of the queries: a kernel's window counts them one by one, a block mask has all."""
    return layout.kernels[0] in ("sdpa", "varlen") if is_global else layout.kernels[1] == "sdpa"


def take_rows(values_BSD: Tensor, slots_BQ: Tensor) -> Tensor:
    """Return the vectors at `slots_BQ` of each row, [B, Q, D]."""
    return values_BSD.gather(1, slots_BQ.unsqueeze(2).expand(-1, -1, values_BSD.shape[2]))


def take_queries(mask_B1SS: Tensor, slots_BQ: Tensor) -> Tensor:
    """Return the mask rows of the queries at `slots_BQ`, [B, 1, Q, S]."""
    num_tokens = mask_B1SS.shape[3]
    return mask_B1SS.squeeze(1).gather(1, slots_BQ.unsqueeze(2).expand(-1, -1, num_tokens)).unsqueeze(1)


_compiled_flex = torch.compile(flex_attention, dynamic=False)


def _flex_kernel(q_BHQE: Tensor) -> Any:
    """Return FlexAttention: compiled on a GPU, where the plain one would build all scores, unless a graph holds it."""
    return _compiled_flex if q_BHQE.is_cuda and not torch.compiler.is_compiling() else flex_attention


def _dense_mask(document_BS: Tensor, reach: int | None) -> Tensor:
    """Return bool [B, 1, S, S]: query and key are of one document, and near each other."""
    mask_BSS = document_BS.unsqueeze(2) == document_BS.unsqueeze(1)
    if reach is not None:
        index_S = torch.arange(document_BS.shape[1], device=document_BS.device)
        mask_BSS = mask_BSS & ((index_S.unsqueeze(1) - index_S).abs() <= reach)
    return mask_BSS.unsqueeze(1)


def _offsets_of(document_BQ: Tensor, num_pieces: int) -> Tensor:
    """Return int32 [N + 1]: offsets of runs of equal documents; the number of runs is that of all possible ones."""
    num_rows = len(document_BQ)
    counts = torch.zeros((num_rows, num_pieces + 1), dtype=torch.int64, device=document_BQ.device)
    counts = counts.scatter_add(1, document_BQ, torch.ones_like(document_BQ))
    return functional.pad(counts.flatten().cumsum(0), (1, 0)).int()


def _block_mask(document_BS: Tensor, reach: int | None) -> Any:
    """Return FlexAttention's block mask: query and key are of one document, and near each other."""
    num_rows, num_tokens = document_BS.shape

    def full(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del head
        return document_BS[row, query] == document_BS[row, key]

    def local(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return full(row, head, query, key) & ((query - key).abs() <= reach)

    rule = full if reach is None else local
    return create_block_mask(rule, num_rows, None, num_tokens, num_tokens, device=document_BS.device)


def _attend_stream(
    q_BQHE: Tensor, k_BSHE: Tensor, v_BSHE: Tensor, layout: Layout, *, is_global: bool, slots_BQ: Tensor | None
) -> Tensor:
    """Return [B, Q, H * E] by variable-length attention over the documents of all rows in one stream."""
    num_rows, num_queries = q_BQHE.shape[:2]
    offsets = query_offsets = layout.full if is_global else layout.local
    if slots_BQ is not None:
        query_offsets = _offsets_of(layout.document_BS.gather(1, slots_BQ), layout.num_pieces)
    mixed_THE = varlen.varlen_attn(
        q_BQHE.flatten(0, 1),
        k_BSHE.flatten(0, 1),
        v_BSHE.flatten(0, 1),
        query_offsets,
        offsets,
        num_queries,
        k_BSHE.shape[1],
        window_size=(-1, -1) if is_global else (layout.half, layout.half),
    )
    return mixed_THE.view(num_rows, num_queries, -1)
