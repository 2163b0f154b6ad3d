"""A floor: what a process a job costs when nothing else is done.

`fork_loop.py IN_HAND SECONDS SIZE COMMAND...` keeps IN_HAND processes of COMMAND going, gives each SIZE bytes on
stdin, reads its stdout to the end and waits for it; prints `{"latencies": [ns, ...], "started": ns, "ended": ns}`.
It knows that a pipe holds a small query, so that nothing needs to be fed in turns.
"""

import fcntl
import json
import os
import sys
import time
from collections import deque

WARM_UP = 20


def start(command: list[str], query: bytes) -> tuple[int, int, int]:
    """Start one process; its id, the reading end of its stdout, and the time before it in ns."""
    began = time.monotonic_ns()
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    if len(query) > 4096:
        fcntl.fcntl(stdin_write, fcntl.F_SETPIPE_SZ, len(query))
    actions = [(os.POSIX_SPAWN_DUP2, stdin_read, 0), (os.POSIX_SPAWN_DUP2, stdout_write, 1)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(stdin_read)
    os.close(stdout_write)
    os.write(stdin_write, query)
    os.close(stdin_write)
    return process, stdout_read, began


def finish(process: int, stdout: int, began: int, query: bytes) -> int:
    """Read its output, wait for it; how long it all took, in ns."""
    output = bytearray()
    while data := os.read(stdout, 65536):
        output += data
    os.close(stdout)
    _, status = os.waitpid(process, 0)
    if status or output != query:
        raise SystemExit("the command did not echo its query")
    return time.monotonic_ns() - began


def main() -> None:
    in_hand, seconds, size, *command = sys.argv[1:]
    query = b"x" * int(size)
    running = deque(start(command, query) for _ in range(int(in_hand)))
    latencies: list[int] = []
    began = time.monotonic_ns()
    while time.monotonic_ns() < began + float(seconds) * 1e9 or len(latencies) < 2 * WARM_UP:
        latencies.append(finish(*running.popleft(), query))
        running.append(start(command, query))
        if len(latencies) == WARM_UP:
            warm = time.monotonic_ns()
    ended = time.monotonic_ns()
    while running:
        finish(*running.popleft(), query)
    print(json.dumps({"latencies": latencies[WARM_UP:], "started": warm, "ended": ended}))


if __name__ == "__main__":
    main()
