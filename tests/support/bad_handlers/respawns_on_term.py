#!/usr/bin/env python3
"""A daemon that starts its successor in a new session whenever it receives SIGTERM."""

import os
import signal
import sys
import time


def succeed(*_: object) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()


if os.fork():
    sys.stdout.write("result")
    sys.stdout.flush()
    os._exit(0)
os.setsid()
signal.signal(signal.SIGTERM, succeed)
null = os.open("/dev/null", os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(null, descriptor)
while True:
    time.sleep(300)
