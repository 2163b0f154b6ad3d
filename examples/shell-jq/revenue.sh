#!/bin/sh
# Paid orders summed by region, the largest first. Amounts are in cents.
set -eu
jq --compact-output '
  .orders
  | map(select(.status == "paid"))
  | group_by(.region)
  | map({region: .[0].region, orders: length, cents: (map(.cents) | add)})
  | sort_by(-.cents)
'
