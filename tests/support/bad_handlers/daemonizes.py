#!/usr/bin/env python3
"""Fork twice, leave the session, the folder and the pipes, and keep running; the parent reports success."""

import os
import sys
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        time.sleep(300)
    os._exit(0)
os.wait()
sys.stdout.write("result")
