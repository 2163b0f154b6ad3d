#!/bin/sh
echo 'the reason, for people' >&2
exit 3
