#!/bin/sh
# Ten children that outlive it for a moment, and end as somebody else's.
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1 >/dev/null 2>&1 & done
printf result
