#!/bin/sh
# Neither it nor its child ends on SIGTERM.
trap '' TERM
sh -c 'trap "" TERM; while :; do sleep 5; done' &
while :; do sleep 5; done
