"""The same handler for mode persistent: a query a line, a result a line."""

import sys

import numpy as np  # type: ignore[import-not-found]

for query in sys.stdin.buffer:
    assert np.arange(8).sum() == 28
    sys.stdout.buffer.write(query)
    sys.stdout.buffer.flush()
