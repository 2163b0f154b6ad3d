#!/bin/sh
# What is in stock of each article after all movements. Articles that are short are reported on stderr, which is the log.
set -eu
stock=$(jq --compact-output '[.movements[] | {(.article): .quantity}] | map(to_entries[]) | group_by(.key)
  | map({key: .[0].key, value: (map(.value) | add)}) | from_entries')
printf '%s' "$stock" | jq --raw-output 'to_entries[] | select(.value < 0) | "\(.key): \(-.value) too few"' >&2
printf '%s\n' "$stock"
