#!/bin/sh
exec <&- >&- 2>&-
exec sleep 300
