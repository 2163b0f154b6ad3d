#!/usr/bin/env bash
# A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.
# A query that cannot be served ends the process: its job gets the error, and the next one a new process.
set -euo pipefail

greet() {
  jq --compact-output --exit-status '
    .name
    | if type != "string" or . == "" then error("the name is empty") else "Hello, \(.)!" end
  '
}

while IFS= read -r query; do
  greet <<<"$query"
done
