#!/bin/sh
# More than a pipe holds in both directions: a launcher that first writes all and then reads stands still.
head -c 10000000 /dev/zero
cat >/dev/null
