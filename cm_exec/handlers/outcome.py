"""How a handler's process ends, as the failure of its job, and what it writes to stderr, for the log and for errors."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from cm_exec.config import Function
from cm_exec.handlers.job_state import JobState
from cm_exec.handlers.spool import Spool
from cm_exec.processes.child import bytes_in
from cm_exec.protocol import Job, redact
from cm_exec.protocol.failure import OUTPUT_EXCERPT, STDERR_TAIL, Failure, Reason
from cm_exec.protocol.json_text import json_problem

log: Final = logging.getLogger("cm_exec.handler")

_LONGEST_SECRET: Final = 16 * 1024
"""Bytes that are kept beside a text that is cut, since a token is redacted before the rest is cut off."""

_LONGEST_PIECE: Final = 64 * 1024


class StderrTail:
    """The end of a handler's stderr, for error results."""

    def __init__(self) -> None:
        self._tail = b""

    def write(self, chunk: bytes) -> None:
        """Append `chunk` and forget what is too old."""
        self._tail = (self._tail + chunk)[-STDERR_TAIL - _LONGEST_SECRET :]

    def getvalue(self) -> bytes:
        """Return the end of what was written."""
        return self._tail


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
        if self._rest:
            self._log(self._redact(self._rest))
            self._rest = b""

    def _log(self, lines: bytes) -> None:
        if lines:
            log.info(lines, extra={"tags": self._tags})


_MOST_READS: Final = 32


class LogPipe:
    """Reads a pipe of a process that has no job: into the log, and into the end of its stderr."""

    def __init__(self, fd: int, tail: StderrTail, logger: StderrLogger) -> None:
        self._fd = fd
        self._tail = tail
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._loop.add_reader(fd, self._read)

    def read_rest(self) -> None:
        """Take what is in the pipe: the process has exited."""
        for _ in range(_MOST_READS):
            if not self._is_open or not bytes_in(self._fd):
                break
            self._read()

    def close(self) -> None:
        """Read no more; safe to call again."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            self._logger.flush()

    def _read(self) -> None:
        try:
            chunk = os.read(self._fd, _LONGEST_PIECE)
        except BlockingIOError:
            return
        if chunk:
            self._tail.write(chunk)
            self._logger.write(chunk)
        else:
            self.close()


class CallerSecrets:
    """The tokens of the last callers of one process, which may be in what it writes to stderr much later."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._secrets: dict[bytes, None] = {}

    def remember(self, job: Job) -> None:
        """Add the tokens of this caller, and forget the oldest beyond the limit."""
        for secret in job.secrets:
            self._secrets.pop(secret, None)  # to the end: the oldest is forgotten first
            self._secrets[secret] = None
        while len(self._secrets) > self._limit:
            self._secrets.pop(next(iter(self._secrets)))

    def redact(self, text: bytes) -> bytes:
        """Return the text without them."""
        return redact(text, self._secrets)


ERROR_OUTPUT: Final = 64 * 1024
"""Bytes of stdout that `error_output = true` puts into an error result."""

_EXCERPT_KEPT: Final = OUTPUT_EXCERPT + _LONGEST_SECRET


def failure_of_exit(function: Function, ended: JobState, stderr: bytes, spool: Spool) -> Failure | None:
    """Return why the job of a process failed, None if the command ended by itself and with status 0."""
    if ended.reason is not None:
        return failure_of_abort(function, ended.reason, ended.detail, spool, stderr)
    if ended.status is None:
        message = f"the command of {function.name!r} cannot be ended"
        return Failure(reason=Reason.TIMEOUT, message=message, stderr=stderr)
    if not ended.status:
        return None
    failure = failure_of_status(function, ended.status, stderr, spool)
    return _with_output(failure, spool) if function.error_output else failure


def failure_of_abort(
    function: Function, reason: Reason, detail: str, spool: Spool, stderr: bytes = b"", *, process_goes_on: bool = False
) -> Failure:
    """Return why the launcher ended a job: with its command, or in a process that goes on with others."""
    subject, done = ("job", "cancelled") if process_goes_on else ("command", "ended")
    if reason is Reason.SHUTDOWN:
        why = f"was {done} because {detail or 'the worker shuts down'}"
    else:
        why = _WHY_ENDED[reason].format(function=function, done=done) + (f" ({detail})" if detail else "")
    message = f"the {subject} of {function.name!r} {why}"
    return Failure(reason=reason, message=message, stderr=stderr, output=excerpt(spool))


def failure_of_status(function: Function, status: int, stderr: bytes, spool: Spool | None = None) -> Failure:
    """Return why the command failed, or why it ended without a result, by its exit status."""
    subject = f"the command of {function.name!r}"
    output = b"" if stderr or not status or spool is None else excerpt(spool, end=True)  # PHP has its errors on stdout
    if status < 0:
        name = signal_name(-status)
        more = ", as happens when memory runs out" if name == "SIGKILL" else ""
        message = f"{subject} was ended by {name}{more}"
        return Failure(reason=Reason.SIGNAL, message=message, signal=name, stderr=stderr, output=output)
    message = f"{subject} failed with exit status {status}" if status else f"{subject} ended without a result"
    return Failure(reason=Reason.EXIT, message=message, exit_code=status, stderr=stderr, output=output)


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
