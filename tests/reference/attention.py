"""Slow twins of document attention: one head, one query at a time, explicit softmax(q k^T / sqrt(d)) v."""

import math

import torch


def attend_by_document(q_BSHE, k_BSHE, v_BSHE, lengths_BP, window=None):
    """Return [B, S, H * E]; padding stays zero. `window` limits keys to half of it away."""
    mixed = torch.zeros_like(q_BSHE)
    num_rows, _, num_heads, _ = q_BSHE.shape
    for row in range(num_rows):
        start = 0
        for length in lengths_BP[row].tolist():
            for head in range(num_heads):
                for query in range(start, start + length):
                    near = [
                        key for key in range(start, start + length) if window is None or abs(key - query) <= window // 2
                    ]
                    mixed[row, query, head] = _mix(
                        q_BSHE[row, query, head], k_BSHE[row, near, head], v_BSHE[row, near, head]
                    )
            start += length
    return mixed.flatten(2)


def attend_stream(q_TqHE, k_TkHE, v_TkHE, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size=(-1, -1)):
    """The contract of `torch.nn.attention.varlen.varlen_attn`: [Tq, H, E], segment by segment, int32 offsets.

    A window counts from the bottom right corner of a segment, as FlashAttention's does.
    """
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert len(cu_seq_q) == len(cu_seq_k)
    assert (cu_seq_q.diff().max(), cu_seq_k.diff().max()) <= (max_q, max_k)
    assert (cu_seq_q[-1], cu_seq_k[-1]) == (len(q_TqHE), len(k_TkHE))
    mixed = torch.zeros_like(q_TqHE)
    offsets = zip(
        *(offsets.tolist() for offsets in (cu_seq_q[:-1], cu_seq_q[1:], cu_seq_k[:-1], cu_seq_k[1:])), strict=True
    )
    for q_start, q_stop, k_start, k_stop in offsets:
        for query in range(q_start, q_stop):
            centre = k_stop - (q_stop - query)
            left, right = (
                k_start if window_size[0] < 0 else max(k_start, centre - window_size[0]),
                k_stop if window_size[1] < 0 else min(k_stop, centre + window_size[1] + 1),
            )
            for head in range(q_TqHE.shape[1]):
                mixed[query, head] = _mix(q_TqHE[query, head], k_TkHE[left:right, head], v_TkHE[left:right, head])
    return mixed


def _mix(q_E, k_KE, v_KE):
    scores = k_KE @ q_E / math.sqrt(len(q_E))
    share = torch.exp(scores - scores.max())
    return (share / share.sum()) @ v_KE
