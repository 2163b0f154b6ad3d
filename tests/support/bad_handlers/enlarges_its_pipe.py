#!/usr/bin/env python3
"""Enlarge the pipe of stdout to a megabyte, wait for the file `go`, fill the pipe with one write, and exit."""

import fcntl
import os
import time
from pathlib import Path

fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
while not Path("go").exists():
    time.sleep(0.01)
os.write(1, bytes(1 << 20))
os._exit(0)
