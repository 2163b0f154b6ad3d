#!/usr/bin/env bash
# A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
set -euo pipefail

jq --compact-output --exit-status '
  .name
  | if type != "string" or . == "" then error("the name is empty") else "Hello, \(.)!" end
'
