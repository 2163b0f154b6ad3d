#!/usr/bin/env python3
"""Makes its stdout hold a megabyte, waits for the file `go`, fills the pipe with one write and ends."""

import fcntl
import os
import time
from pathlib import Path

fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
while not Path("go").exists():
    time.sleep(0.01)
os.write(1, bytes(1 << 20))
os._exit(0)
