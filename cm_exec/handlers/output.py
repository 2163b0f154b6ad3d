"""What a handler writes, and how its process ends: the result or the failure of its job, and stderr for the log."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import IO, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cm_exec.config.model import Function
from cm_exec.processes.child import NotStartedError
from cm_exec.protocol.job import OUTPUT_EXCERPT, STDERR_TAIL, Failure, Reason, StreamAbortedError
from cm_exec.protocol.json_text import json_problem

log: Final = logging.getLogger("cm_exec.handler")

MEMORY_LIMIT: Final = 1024 * 1024
"""Bytes of a result that stay in memory; a larger one moves to a temporary file."""

_BLOCK: Final = 128 * 1024  # a larger buffer is mapped again each time, see limit_mmap_threshold
_TAIL_KEPT: Final = STDERR_TAIL + 16 * 1024  # a token is redacted before the rest is cut off


class Spool:
    """The bytes of one result: written once, read as often as a post is repeated.

    `directory` is the folder of the temporary file, which has no name there; None keeps everything in memory. So does
    a file that cannot be had or that the disk does not take: the handler's max_output limits the memory then.
    """

    def __init__(self, directory: str | None) -> None:
        self.size = 0
        self._directory = directory
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises MemoryError."""
        size = self.size + len(chunk)
        if self._file is None and self._directory is not None and size > MEMORY_LIMIT:
            self._open_file(self._directory)
        if self._file is None or not self._write_to_file(chunk):
            self._memory += chunk
        self.size = size

    def read_at(self, offset: int) -> bytes:
        """Return a block from `offset` on, nothing at the end."""
        if self._file is None:
            return bytes(self._memory[offset : offset + _BLOCK])
        return os.pread(self._file.fileno(), _BLOCK, offset)

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the result in blocks."""
        offset = 0
        while block := self.read_at(offset):
            yield block
            offset += len(block)

    def getvalue(self) -> bytes:
        """Return the whole result."""
        if self._file is None:
            return bytes(self._memory)
        value = os.pread(self._file.fileno(), self.size, 0)
        return value if len(value) == self.size else b"".join(self.chunks())  # more than 2 GiB

    def clear(self) -> None:
        """Remove what was written."""
        self.size = 0
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None

    close = clear

    def _open_file(self, directory: str) -> None:
        from tempfile import TemporaryFile  # noqa: PLC0415 - costs 5 ms, and most results are small

        try:
            self._file = TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 - closed by close()
        except OSError:
            self._directory = None
            return
        if self._write_to_file(self._memory):
            self._memory = bytearray()

    def _write_to_file(self, chunk: bytes | bytearray) -> bool:
        """Append to the file; where the disk is full, move everything back to memory and return False."""
        assert self._file is not None  # noqa: S101 - for the type checker
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            # if the move to the file has failed, the memory still has everything
            kept = self._memory or bytearray(os.pread(self._file.fileno(), self.size, 0))
            self._file.close()
            self._file = self._directory = None
            self._memory = kept
            return False
        return True


class StreamingSpool(Spool):
    """A spool that one task reads while another writes."""

    def __init__(self, directory: str | None) -> None:
        super().__init__(directory)
        self._complete: bool | None = None
        self._changed: asyncio.Future[None] | None = None

    def write(self, chunk: bytes) -> None:
        """Append `chunk` and wake the reader."""
        super().write(chunk)
        self._wake()

    def finish(self, *, ok: bool) -> None:
        """Mark the end: the result is complete, or never will be."""
        self._complete = ok
        self._wake()

    async def begins(self) -> bool:
        """Wait for the first byte or the end; return whether there is a byte."""
        while not self.size and self._complete is None:
            await self._change()
        return self.size > 0

    async def live_chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the result as it comes. Raises StreamAbortedError if it ends incomplete."""
        offset = 0
        while True:
            if block := self.read_at(offset):
                offset += len(block)
                yield block
            elif self._complete is None:
                await self._change()
            elif self._complete:
                return
            else:
                raise StreamAbortedError

    async def _change(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


def spool_directory() -> str | None:
    """Return the folder for temporary files, None if there is no writable one (a read-only root)."""
    from tempfile import gettempdir  # noqa: PLC0415 - see above

    try:
        return gettempdir()
    except OSError:
        return None


_LONGEST_PIECE: Final = 64 * 1024
_LONGEST_SECRET: Final = 16 * 1024


class StderrTail:
    """The end of a handler's stderr, for error results."""

    def __init__(self) -> None:
        self._tail = b""

    def write(self, chunk: bytes) -> None:
        """Append `chunk` and forget what is too old."""
        self._tail = (self._tail + chunk)[-_TAIL_KEPT:]

    def getvalue(self) -> bytes:
        """Return the end of what was written."""
        return self._tail


class LimitedOutput:
    """Writes a result to its spool, up to the function's max_output in bytes."""

    def __init__(self, spool: Spool, limit: int) -> None:
        self.spool = spool
        self._limit = limit

    def write(self, chunk: bytes) -> tuple[Reason, str] | None:
        """Append `chunk`; return the reason and a detail if that is not possible."""
        if self.spool.size + len(chunk) > self._limit:
            return Reason.OUTPUT_LIMIT, ""
        try:
            self.spool.write(chunk)
        except MemoryError:
            return Reason.OUTPUT_LIMIT, "there is not enough memory for it"
        return None


class StderrLogger:
    """Logs complete lines as they come, several in one record.

    Bytes are neither split nor decoded here: the log does that on its own thread. A line longer than 64 KiB is logged
    in pieces; a secret is never split between two pieces.
    """

    def __init__(self, tags: Mapping[str, str], redact: Callable[[bytes], bytes] = bytes) -> None:
        self._tags = tags
        self._redact = redact
        self._rest = b""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of stderr."""
        text = self._rest + chunk
        end = text.rfind(b"\n") + 1
        if not end and len(text) >= _LONGEST_PIECE:
            text = self._redact(text)  # before it is cut
            end = max(0, len(text) - _LONGEST_SECRET)
            self._log(text[:end])
        else:
            self._log(self._redact(text[:end]))
        self._rest = text[end:]

    def flush(self) -> None:
        """Log what has come without a line end."""
        self._log(self._redact(self._rest))
        self._rest = b""

    def _log(self, lines: bytes) -> None:
        if lines:
            log.info(lines, extra={"tags": self._tags})


ERROR_OUTPUT: Final = 64 * 1024
"""Bytes of stdout that `error_output = true` puts into an error result."""

_EXCERPT_KEPT: Final = OUTPUT_EXCERPT + 16 * 1024


class ProcessExit(Struct, frozen=True, kw_only=True):
    """How a process ended.

    `status` is its exit status as subprocess gives it, None if it still runs or the kernel does not end it. `reason`
    says why the launcher ended it, None if it ended by itself; `detail` is added to the message. `stderr` is the end
    of its stderr.
    """

    status: int | None
    reason: Reason | None = None
    detail: str = ""
    stderr: bytes = b""


def failure_of_exit(function: Function, ended: ProcessExit, spool: Spool) -> Failure | None:
    """Return why the job failed, None if the command ended by itself and with status 0."""
    if ended.reason is not None:
        return failure_of_abort(function, ended.reason, ended.detail, spool, ended.stderr)
    if ended.status is None:
        message = f"the command of {function.name!r} cannot be ended"
        return Failure(reason=Reason.TIMEOUT, message=message, stderr=ended.stderr)
    if not ended.status:
        return None
    failure = _failure_of_status(function, ended)
    if function.error_output:
        return _with_output(failure, spool)
    # PHP reports its errors on stdout
    return failure if ended.stderr else replace(failure, output=excerpt(spool, end=True))


def failure_of_abort(
    function: Function, reason: Reason, detail: str, spool: Spool, stderr: bytes = b"", *, process_goes_on: bool = False
) -> Failure:
    """Return why the launcher ended a job: with its command, or in a process that goes on with others."""
    subject, done = ("job", "cancelled") if process_goes_on else ("command", "ended")
    message = f"the {subject} of {function.name!r} {_WHY_ENDED[reason].format(function=function, done=done)}"
    if detail:
        message += f" ({detail})"
    return Failure(reason=reason, message=message, stderr=stderr, output=excerpt(spool))


def _failure_of_status(function: Function, ended: ProcessExit) -> Failure:
    subject = f"the command of {function.name!r}"
    status = ended.status or 0
    if status < 0:
        name = signal_name(-status)
        message = f"{subject} was ended by {name}"
        if name == "SIGKILL":
            message += ", as happens when memory runs out"
        return Failure(reason=Reason.SIGNAL, message=message, signal=name, stderr=ended.stderr)
    message = f"{subject} failed with exit status {status}"
    return Failure(reason=Reason.EXIT, message=message, exit_code=status, stderr=ended.stderr)


def _with_output(failure: Failure, spool: Spool) -> Failure:
    """Give the caller the command's own error: its stdout, as JSON if it is JSON."""
    output = spool.read_at(0)[:ERROR_OUTPUT]
    is_json = spool.size <= ERROR_OUTPUT and json_problem(output) is None
    return replace(failure, output=output, output_limit=ERROR_OUTPUT, output_is_json=is_json)


def excerpt(spool: Spool, *, end: bool = False) -> bytes:
    """Return the beginning, or the end, of what a process wrote; longer than shown, so that tokens can be redacted."""
    if not end:
        return spool.read_at(0)[:_EXCERPT_KEPT]
    return spool.read_at(max(0, spool.size - OUTPUT_EXCERPT))


_WHY_ENDED: Final = {
    Reason.TIMEOUT: "did not finish within its timeout of {function.timeout:g} s and was {done}",
    Reason.OUTPUT_LIMIT: "wrote more than its max_output of {function.max_output} bytes and was {done}",
    Reason.SHUTDOWN: "was {done} because the worker shuts down",
}


def finish_output(
    function: Function, spool: Spool, stderr: bytes = b"", exit_code: int | None = None
) -> Failure | None:
    """Check a complete result as `output` says, and encode it; return what is wrong with it.

    `exit_code` is that of the command, None if it goes on.
    """
    if function.output == "bytes":
        return None
    text = spool.getvalue()
    if function.output == "json":
        problem = json_problem(text)
        return None if problem is None else _invalid(function, f"JSON: {problem}", text, stderr, exit_code)
    try:
        encoded = msgspec.json.encode(text.decode().removesuffix("\n"))
    except UnicodeDecodeError as error:
        return _invalid(function, f"UTF-8 text: byte {error.start}", text, stderr, exit_code)
    spool.clear()
    spool.write(encoded)
    return None


def _invalid(function: Function, expected: str, output: bytes, stderr: bytes, exit_code: int | None) -> Failure:
    return Failure(
        reason=Reason.INVALID_OUTPUT,
        message=f"the output of {function.name!r} is not {expected}",
        exit_code=exit_code,
        stderr=stderr,
        output=output[:_EXCERPT_KEPT],
    )


def not_started(error: NotStartedError) -> Failure:
    """Return the failure of a command that could not be started."""
    return Failure(reason=Reason.NOT_STARTED, message=str(error), exit_code=error.exit_code)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL, or SIG40 for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


_LAST_LINE: Final = 200


def log_exit(subject: str, when: str, status: int, stderr: bytes, tags: Mapping[str, str]) -> None:
    """Log the end of a process that has no job, such as "the process of 'f'", "between jobs"."""
    lines = stderr.decode(errors="backslashreplace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")[:_LAST_LINE]
    more = f"; the last line of its stderr: {last}" if last else ""
    log.warning("%s ended %s, %s%s", subject, when, _exit_words(status), more, extra={"tags": tags})


def early_exit(subject: str, status: int, stderr: bytes) -> Failure:
    """Return the failure of jobs that wait for a process which has ended before it was ready."""
    return Failure(
        reason=Reason.NOT_STARTED,
        message=f"{subject} ended before it was ready, {_exit_words(status)}",
        exit_code=status if status >= 0 else None,
        signal=signal_name(-status) if status < 0 else None,
        stderr=stderr,
    )


def _exit_words(status: int) -> str:
    return f"by {signal_name(-status)}" if status < 0 else f"with exit status {status}"


def out_of_step(name: str, problem: str, *, stderr: bytes = b"", output: bytes = b"") -> Failure:
    """Return the failure of a process that wrote what it was not asked for."""
    message = f"the process of {name!r} is out of step: it wrote {problem}"
    return Failure(reason=Reason.OUT_OF_STEP, message=message, stderr=stderr, output=output[:_EXCERPT_KEPT])
