#!/bin/sh
# Writes on when nobody reads any more, and when it is asked to end.
trap '' PIPE TERM
while :; do head -c 65536 /dev/zero 2>/dev/null; done
