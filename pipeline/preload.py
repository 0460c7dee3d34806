"""What the fork server imports, so that a worker starts as a copy of a process that is ready.

Importing Beam, numba and the first stage takes most of a second and 300 MB, and a copy shares those pages. The server
must stay without threads: a fork copies none, and what they hold locked stays so. No unit is begun before all is
imported, so what is not needed is not: 0.65 against 1.5 s.
"""

import gc
import importlib
import logging
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

# Found by Beam and numba where they are installed, and not needed: clouds (`fsspec` reads them for us), data frames,
# linear algebra.
SPARED: Final = (
    *("google.cloud", "google.auth", "google.api_core", "apitools", "oauth2client", "boto3", "pymongo", "requests"),
    *("pandas", "scipy"),
)
# Those of the first stage; the others' are 0.03 s each, which a worker takes when it comes to them.
_MODULES: Final = (
    *("pipeline.clean", "pipeline.engine"),
    *("transforms.each_batch", "transforms.read", "transforms.signing", "transforms.write"),
)


class _Missing:
    """Finds SPARED before others do, as missing; whoever asks for one when this is gone again gets it."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - what a finder is given
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname in SPARED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def _load() -> None:
    missing, silent = _Missing(), logging.NullHandler()
    sys.meta_path.insert(0, missing)
    logging.getLogger().addHandler(silent)  # without any the first warning of what is missing would install one
    try:
        import numpy as np  # noqa: PLC0415
        import pyarrow as pa  # noqa: PLC0415

        from pipeline.errors import quiet_beam  # noqa: PLC0415
        from transforms.kernels.jit import ready  # noqa: PLC0415

        quiet_beam()
        importlib.import_module("apache_beam.runners.portability.fn_api_runner")
        pa.array(np.zeros(1))  # looks for pandas once, and would in each worker
        ready()  # the first call of any kernel makes numba fill its own tables: 0.2 s and 40 MB
    finally:
        sys.meta_path.remove(missing)
        logging.getLogger().removeHandler(silent)
    for name in _MODULES:
        importlib.import_module(name)


gc.disable()  # it ran twenty times while modules came, and found nothing: 0.2 s
_load()
gc.enable()
gc.freeze()  # a collection in a worker must not write to the pages that it shares
