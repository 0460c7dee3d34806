"""transforms.readers.rows: what becomes of the texts that readers add."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.readers.rows import ROWS, Rows


@settings(deadline=None)
@given(texts=st.lists(st.one_of(st.text(max_size=9), st.text(max_size=9).map(str.encode)), max_size=9))
def test_texts_are_one_column(texts):
    """Strings and UTF-8 make the column that Arrow makes of the strings, and the rows begin again behind it."""
    rows = Rows()
    expected = [text.decode() if isinstance(text, bytes) else text for text in texts]
    for _ in range(2):
        for text in texts:
            rows.add(text, location="x#0", num_bytes=1)
        batch = rows.take()
        batch.validate(full=True)
        assert batch.schema == ROWS
        assert batch.column("text").equals(pa.array(expected, pa.string()))
