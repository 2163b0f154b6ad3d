#!/bin/sh
# The child holds both pipes open long after the handler has ended.
sleep 300 &
printf result
