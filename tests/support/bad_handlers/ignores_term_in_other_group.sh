#!/bin/sh
# Its child leaves the group and the session, keeps stdout open and does not end on SIGTERM.
trap '' TERM
setsid sh -c 'trap "" TERM; while :; do sleep 5; done' &
while :; do sleep 5; done
