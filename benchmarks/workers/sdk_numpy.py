"""The official Python SDK's worker with a handler that imports numpy: `sdk_numpy.py processes|threads`."""

import sys

import numpy as np  # type: ignore[import-not-found]
from compute_modules import (  # type: ignore[import-not-found]  # it is in .venv-bench
    ConcurrencyType,
    add_functions,
    start_compute_module,
)


def echo(context, event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001 - as most people write it
    assert np.arange(8).sum() == 28
    return event


if __name__ == "__main__":
    add_functions(echo)
    start_compute_module(
        ConcurrencyType.THREAD_POOL if sys.argv[1] == "threads" else ConcurrencyType.PROCESS_POOL,
    )
