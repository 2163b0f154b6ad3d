#!/bin/sh
# {"image": a PNG in base64, "width": pixels}: the image, no wider than that, as PNG bytes.
set -eu
query=$(cat)
width=$(printf %s "$query" | jq -er '.width | floor')
# "png:" in front of the names: what the data says of itself is not trusted to choose a decoder
printf %s "$query" | jq -er .image | base64 -d | convert png:- -thumbnail "${width}x>" png:-
