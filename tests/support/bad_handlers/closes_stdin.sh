#!/bin/sh
exec <&-
sleep 0.2
printf result
