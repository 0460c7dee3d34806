"""What the fork server imports, so that a worker starts as a copy of a process that is ready.

Importing Beam and the stages takes over a second and 300 MB, and a copy shares those pages. The server must stay
without threads: a fork copies none, and what they hold locked stays so.
"""

import gc

import apache_beam.runners.portability.fn_api_runner  # noqa: F401

import pipeline.clean
import pipeline.dedup
import pipeline.engine
import pipeline.tokenize  # noqa: F401
from transforms.kernels.jit import wide

wide(0)  # the first call of any kernel makes numba fill its own tables: 0.4 s and 40 MB
gc.collect()
gc.freeze()  # a collection in a worker must not write to the pages that it shares
