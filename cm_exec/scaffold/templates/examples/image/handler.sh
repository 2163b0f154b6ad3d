#!/usr/bin/env bash
# A thumbnail with ImageMagick. The query comes on stdin, the result goes to stdout, and stderr is the log.
set -euo pipefail # the first failing program of a pipeline fails the job

folder=$(mktemp --directory)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/query.json"
width=$(jq .width "$folder/query.json")
jq --join-output .image "$folder/query.json" | base64 --decode >"$folder/image"
convert "$folder/image" -resize "${width}x" "png:$folder/thumbnail"
base64 --wrap=0 "$folder/thumbnail"
