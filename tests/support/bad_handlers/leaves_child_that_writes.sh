#!/bin/sh
# The child writes to stderr for ever, with the handler long gone.
sh -c 'trap "" PIPE; while :; do echo noise >&2; sleep 0.01; done' &
printf result
