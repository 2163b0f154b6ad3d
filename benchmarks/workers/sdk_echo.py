"""The official Python SDK's worker: `sdk_echo.py processes|threads`, an echo in the SDK's own process.

It keeps MODEL_MIB MiB of memory, as a model would.
"""

import os
import sys

from compute_modules import (  # type: ignore[import-not-found]  # it is in .venv-bench
    ConcurrencyType,
    add_functions,
    start_compute_module,
)

MODEL = bytearray(b"\1") * (int(os.environ.get("MODEL_MIB", "0")) << 20)


def echo(context, event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001 - as most people write it
    return event


if __name__ == "__main__":
    add_functions(echo)
    start_compute_module(
        ConcurrencyType.THREAD_POOL if sys.argv[1] == "threads" else ConcurrencyType.PROCESS_POOL,
    )
