#!/bin/sh
printf 'half a result'
exit 255
