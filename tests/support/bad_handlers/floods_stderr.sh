#!/bin/sh
# 20 MB on stderr, then the result.
yes 'a line of noise' | head -c 20000000 >&2
printf result
