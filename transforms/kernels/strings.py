"""Numpy views of Arrow string columns, the input of every text kernel.

Shapes: N documents, M bytes.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def string_views(array: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return `(offsets_N1, bytes_M)` of a `string` or `binary` array without copying.

    Args:
        array: N values with int32 offsets; a slice is allowed. Nulls read as empty, as Arrow's own kernels read them.

    Returns:
        offsets_N1: int32, value i is `bytes_M[offsets_N1[i]:offsets_N1[i + 1]]`; the first offset need not be 0.
        bytes_M: uint8, the whole value buffer (of the parent, if the array is a slice).
    """
    _, offsets, values = array.buffers()
    num_rows = len(array)
    if num_rows == 0 or offsets is None:
        offsets_N1 = np.zeros(1, np.int32)
    else:
        offsets_N1 = np.frombuffer(offsets, np.int32)[array.offset : array.offset + num_rows + 1]
    bytes_M = np.frombuffer(values, np.uint8) if num_rows and values is not None else np.zeros(0, np.uint8)
    # Arrow buffers are sometimes writable; one flag for all, or numba compiles every text kernel twice.
    offsets_N1.flags.writeable = bytes_M.flags.writeable = False
    return offsets_N1, bytes_M


def string_array(offsets_N1: NDArray[np.int32], bytes_M: NDArray[np.uint8]) -> pa.Array:
    """Return a `string` array over the given buffers without copying; the bytes must be valid UTF-8."""
    buffers = [None, pa.py_buffer(offsets_N1), pa.py_buffer(bytes_M)]
    return pa.Array.from_buffers(pa.string(), len(offsets_N1) - 1, buffers)
