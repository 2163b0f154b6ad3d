#!/bin/sh
exec yes 'a line of noise' >&2
