#!/bin/sh
# 10 MB on stderr without a line end.
head -c 10000000 /dev/zero | tr '\0' x >&2
printf result
