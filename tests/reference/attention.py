"""Slow twin of document attention: one document, one head, one query at a time, explicit softmax(q k^T / sqrt(d)) v."""

import math

import torch


def attend_by_document(q_BHSD, k_BHSD, v_BHSD, lengths_BP, window=None):
    """Return [B, S, H * D]; padding stays zero. `window` limits keys to half of it away."""
    mixed = torch.zeros_like(q_BHSD)
    num_rows, num_heads, _, width = q_BHSD.shape
    for row in range(num_rows):
        start = 0
        for length in lengths_BP[row].tolist():
            for head in range(num_heads):
                for query in range(start, start + length):
                    near = [
                        key for key in range(start, start + length) if window is None or abs(key - query) <= window // 2
                    ]
                    scores = k_BHSD[row, head, near] @ q_BHSD[row, head, query] / math.sqrt(width)
                    share = torch.exp(scores - scores.max())
                    mixed[row, head, query] = (share / share.sum()) @ v_BHSD[row, head, near]
            start += length
    return mixed.transpose(1, 2).flatten(2)
