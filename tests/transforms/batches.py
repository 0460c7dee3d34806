"""Batches in flight for tests."""

import pyarrow as pa

from transforms.schema import IN_FLIGHT


def batch_of(texts, rules=None):
    rows = [
        {"doc_id": i, "text": text, "source": "s", "location": f"f#{i}", "rule": rules[i] if rules else None}
        for i, text in enumerate(texts)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=IN_FLIGHT)
