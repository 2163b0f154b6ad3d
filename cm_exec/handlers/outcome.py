"""From the way a process ended to the failure of its job."""

import signal
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cm_exec.config.model import Function
from cm_exec.handlers.spool import Spool
from cm_exec.processes.child import NotStartedError
from cm_exec.protocol.failure import OUTPUT_EXCERPT, STDERR_TAIL, Failure, Reason
from cm_exec.protocol.json_text import json_problem

ERROR_OUTPUT: Final = 64 * 1024
"""Bytes of stdout that `error_output = true` puts into an error result."""

_TAIL_KEPT: Final = STDERR_TAIL + 16 * 1024  # a token is redacted before the rest is cut off
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


def failure_of_exit(function: Function, ended: ProcessExit, spool: Spool) -> Failure | None:
    """Return why the job failed, None if the command ended by itself and with status 0."""
    subject = f"the command of {function.name!r}"
    if ended.reason is not None:
        message = f"{subject} {_WHY_ENDED[ended.reason].format(function=function)}"
        if ended.detail:
            message += f" ({ended.detail})"
        return Failure(reason=ended.reason, message=message, stderr=ended.stderr, output=excerpt(spool))
    if ended.status is None:
        return Failure(reason=Reason.TIMEOUT, message=f"{subject} cannot be ended", stderr=ended.stderr)
    if not ended.status:
        return None
    failure = _failure_of_status(function, ended)
    if function.error_output:
        return _with_output(failure, spool)
    # PHP reports its errors on stdout
    return failure if ended.stderr else replace(failure, output=excerpt(spool, end=True))


def _failure_of_status(function: Function, ended: ProcessExit) -> Failure:
    subject = f"the command of {function.name!r}"
    status = ended.status or 0
    if status < 0:
        name = signal_name(-status)
        message = f"{subject} was ended by {name}"
        if name == "SIGKILL":
            message += ", as it is when memory runs out"
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
    Reason.TIMEOUT: "did not finish within its timeout of {function.timeout:g} s and was ended",
    Reason.OUTPUT_LIMIT: "wrote more than its max_output of {function.max_output} bytes and was ended",
    Reason.SHUTDOWN: "was ended because the worker shuts down",
}


def finish_output(function: Function, spool: Spool, stderr: bytes) -> Failure | None:
    """Check a complete result as `output` says, and encode it; return what is wrong with it."""
    if function.output == "bytes":
        return None
    text = spool.getvalue()
    if function.output == "json":
        problem = json_problem(text)
        return None if problem is None else _invalid(function, f"JSON: {problem}", text, stderr)
    try:
        encoded = msgspec.json.encode(text.decode().removesuffix("\n"))
    except UnicodeDecodeError as error:
        return _invalid(function, f"UTF-8 text: byte {error.start}", text, stderr)
    spool.clear()
    spool.write(encoded)
    return None


def _invalid(function: Function, expected: str, output: bytes, stderr: bytes) -> Failure:
    return Failure(
        reason=Reason.INVALID_OUTPUT,
        message=f"the output of {function.name!r} is not {expected}",
        exit_code=0,
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


def out_of_step(name: str, problem: str, *, stderr: bytes = b"", output: bytes = b"") -> Failure:
    """Return the failure of a process that wrote what it was not asked for."""
    message = f"the process of {name!r} is out of step: it wrote {problem}"
    return Failure(reason=Reason.OUT_OF_STEP, message=message, stderr=stderr, output=output[:_EXCERPT_KEPT])
