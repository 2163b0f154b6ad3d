"""See whether a process waits for input on its stdin, by the system calls that its threads are blocked in."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MACHINE: Final = os.uname().machine
_READS: Final = {"x86_64": {b"0", b"19", b"45", b"47"}, "aarch64": {b"63", b"65", b"207", b"212"}}.get(_MACHINE, set())
"""read, readv, recvfrom, recvmsg."""
_EPOLLS: Final = {"x86_64": {b"232", b"281"}, "aarch64": {b"22"}}.get(_MACHINE, set())
"""epoll_wait, epoll_pwait: the timeout is the fourth argument."""
_POLLS: Final = {"x86_64": {b"7", b"23", b"270", b"271", b"441"}, "aarch64": {b"72", b"73", b"441"}}.get(
    _MACHINE, set()
)
"""poll, select, pselect6, ppoll, epoll_pwait2: the descriptors are in memory, out of sight."""
_NO_TIMEOUT: Final = {b"0xffffffffffffffff", b"0xffffffff"}
_MOST_THREADS: Final = 256


class StdinProbe:
    """Looks at one process, its threads and, on request, its descendants. A look costs 3 microseconds.

    Once a thread was seen to wait, later looks go to that thread alone.
    """

    def __init__(self, pid: int, stdin: int) -> None:
        """`stdin` is the launcher's end of the pipe to the process."""
        self._pid = pid
        self._pipe = os.fstat(stdin).st_ino
        self._fd: int | None = None
        self.has_waited = False
        """Whether the process was ever seen to wait for input, or for an event that may be input."""
        self._look_at(pid)

    @property
    def is_usable(self) -> bool:
        """Whether this system shows the system calls of this process at all."""
        return self._fd is not None and bool(_READS)

    def is_waiting(self) -> bool:
        """Return whether the thread that was last seen to wait, else the main thread, waits for input now."""
        if self._fd is None:
            return False
        try:
            waits = self._waits(self._pid, os.pread(self._fd, 128, 0).split(b" ", 6), strict=True)
        except OSError:
            return False
        self.has_waited = self.has_waited or waits
        return waits

    def find_waiting(self) -> bool:
        """Return whether any thread of the process, or of those it started, waits for input.

        Look at that thread from now on, if it is one of the process itself.
        """
        waits = self._find([self._pid], strict=True) or self._find(descendants(self._pid), strict=True)
        self.has_waited = self.has_waited or waits
        return waits

    def find_reader(self, *, with_polls: bool) -> bool:
        """Return whether the process, or one that it started, reads its stdin, also with a timeout.

        The reader may stand behind a shell. `with_polls` counts poll and select, whose descriptors cannot be seen.
        """
        reads = self._find([self._pid, *descendants(self._pid)], strict=False, with_polls=with_polls)
        self.has_waited = self.has_waited or reads
        return reads

    def find_idle_reader(self, *, alone: bool = False) -> bool:
        """Return whether a thread is blocked in a read of stdin and no other thread runs: nothing is computed.

        epoll does not count, since the process may wait for another event with it. `alone`: nor does a process with
        several threads or with children, which may wait for something else.
        """
        is_reading = False
        count = 0
        for pid in [self._pid, *descendants(self._pid)]:
            for thread in _threads(pid):
                count += 1
                with suppress(OSError):
                    fields = Path(f"/proc/{pid}/task/{thread}/syscall").read_bytes().split()
                    if fields[0] == b"running":
                        return False
                    is_reading = is_reading or (fields[0] in _READS and self._is_stdin(pid, int(fields[1], 16)))
        return is_reading and (count == 1 or not alone)

    def _find(self, pids: list[int], *, strict: bool, with_polls: bool = False) -> bool:
        for pid in pids:
            for thread in _threads(pid):
                with suppress(OSError):
                    fields = Path(f"/proc/{pid}/task/{thread}/syscall").read_bytes().split(b" ", 6)
                    if self._waits(pid, fields, strict=strict) or (with_polls and fields[0] in _POLLS):
                        if strict and pid == self._pid:
                            self._look_at(thread)
                        return True
        return False

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _look_at(self, thread: int) -> None:
        self.close()
        with suppress(OSError):
            self._fd = os.open(f"/proc/{self._pid}/task/{thread}/syscall", os.O_RDONLY | os.O_CLOEXEC)

    def _waits(self, pid: int, fields: list[bytes], *, strict: bool) -> bool:
        call = fields[0]
        if call in _READS:
            return (fields[1] == b"0x0" and pid == self._pid) or self._is_stdin(pid, int(fields[1], 16))
        no_timeout = call in _EPOLLS and (fields[4] in _NO_TIMEOUT or not strict)
        return no_timeout and _epoll_has_stdin(pid, int(fields[1], 16))

    def _is_stdin(self, pid: int, fd: int) -> bool:
        """Return whether a descriptor is the pipe to stdin: R reads it under another number."""
        try:
            return Path(f"/proc/{pid}/fd/{fd}").stat().st_ino == self._pipe
        except OSError:
            return False


def _threads(pid: int) -> list[int]:
    try:
        return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()][:_MOST_THREADS]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Return the running processes that a process started, and those that they started."""
    found: list[int] = []
    for thread in _threads(pid):
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split():
                found += [int(child), *descendants(int(child))]
    return found


def _epoll_has_stdin(pid: int, epoll: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/fdinfo/{epoll}").read_bytes().splitlines()
    except OSError:
        return False
    return any(line.startswith(b"tfd:") and line.split()[1] == b"0" for line in lines)
