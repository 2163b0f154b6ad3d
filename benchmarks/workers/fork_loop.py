"""A floor: what a process a job costs when nothing else is done.

`fork_loop.py IN_HAND SECONDS SIZE COMMAND...` runs COMMAND again and again in IN_HAND threads, each time with SIZE
bytes on stdin, which must come back on stdout; prints `{"latencies": [ns, ...], "started": ns, "ended": ns,
"cpu": seconds}`.
"""

import json
import os
import select
import sys
import threading
import time
from _posixsubprocess import fork_exec
from typing import Any

PIPE = 4096
"""A query of this many bytes fits into any pipe, so that nothing needs to be fed in turns."""

WARM_UP = 5
"""Runs of each thread that do not count."""


FORK_EXEC: Any = fork_exec  # typeshed does not know its None
ENVIRONMENT = [b"%b=%b" % pair for pair in os.environb.items()]


def run(command: list[bytes], query: bytes) -> None:
    """One job."""
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    process = start(command, stdin_read, stdout_write)
    os.close(stdin_read)
    os.close(stdout_write)
    if len(query) > PIPE:
        output = exchange(stdin_write, stdout_read, query)
    else:
        os.write(stdin_write, query)
        os.close(stdin_write)
        output = read_all(stdout_read)
    os.close(stdout_read)
    _, status = os.waitpid(process, 0)
    if status or output != query:
        os._exit(1)


def start(command: list[bytes], stdin: int, stdout: int) -> int:
    """Start the command by vfork, with what subprocess.Popen itself calls.

    Popen costs 0.1 ms more; os.posix_spawn reaches half as many processes a second from four threads.
    """
    error_read, error_write = os.pipe()
    files = (stdin, -1, -1, stdout, -1, -1, error_read, error_write)
    rest = (True, False, -1, None, None, None, -1, None, True)
    process: int = FORK_EXEC(command, command[:1], True, (error_write,), None, ENVIRONMENT, *files, *rest)
    os.close(error_write)
    if os.read(error_read, 100):
        os._exit(1)
    os.close(error_read)
    return process


def read_all(stdout: int) -> bytearray:
    output = bytearray()
    while data := os.read(stdout, 1 << 20):
        output += data
    return output


def exchange(stdin: int, stdout: int, query: bytes) -> bytearray:
    """Feed and read in turns, as the process wants it."""
    os.set_blocking(stdin, False)
    unfed = memoryview(query)
    output = bytearray()
    poll = select.poll()
    poll.register(stdin, select.POLLOUT)
    poll.register(stdout, select.POLLIN)
    while unfed:
        for descriptor, _ in poll.poll():
            if descriptor == stdout:
                output += os.read(stdout, 1 << 20)
            else:
                unfed = unfed[os.write(stdin, unfed) :]
    os.close(stdin)
    return output + read_all(stdout)


def repeat(command: list[bytes], query: bytes, seconds: float, latencies: list[int]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or not latencies:
        began = time.monotonic_ns()
        run(command, query)
        latencies.append(time.monotonic_ns() - began)


def main() -> None:
    in_hand, seconds, size, *words = sys.argv[1:]
    command = [os.fsencode(word) for word in words]
    query = b"x" * int(size)
    for _ in range(WARM_UP):
        run(command, query)
    latencies: list[int] = []
    threads = [
        threading.Thread(target=repeat, args=(command, query, float(seconds), latencies)) for _ in range(int(in_hand))
    ]
    started = time.monotonic_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended, used = time.monotonic_ns(), os.times()
    cpu = used.user + used.system + used.children_user + used.children_system
    print(json.dumps({"latencies": latencies, "started": started, "ended": ended, "cpu": cpu}))


if __name__ == "__main__":
    main()
