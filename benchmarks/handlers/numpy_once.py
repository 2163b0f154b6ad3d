"""A handler that loads something large and then answers one query: an echo, with a sum on the way."""

import sys

import numpy as np  # type: ignore[import-not-found]

query = sys.stdin.buffer.read()
assert np.arange(8).sum() == 28
sys.stdout.buffer.write(query)
