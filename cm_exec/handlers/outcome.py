"""From the way a process ended to what is posted."""

import signal

import msgspec

from cm_exec.config.types import Function
from cm_exec.handlers.exchange import Ending
from cm_exec.handlers.framing import ResultReader
from cm_exec.handlers.handler import Result
from cm_exec.handlers.process import NotStartedError
from cm_exec.handlers.spool import Spool
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.json_text import json_problem


def outcome_of(function: Function, ending: Ending, spool: Spool) -> Result | Failure:
    """The outcome of one run: `spool` is a result only if the command ended well and the output is as declared."""
    failure = _failure(function, ending)
    return failure or _checked(function, spool, ending)


def outcome_of_turn(function: Function, ending: Ending, spool: Spool, reader: ResultReader) -> Result | Failure:
    """The outcome of one job in a process that lives on: it may even have ended, if its result was whole before."""
    if ending.cause is Reason.OUT_OF_STEP:
        return out_of_step(function, ending.detail, ending)
    if ending.cause is None and reader.is_complete:
        return _checked(function, spool, ending)
    if ending.cause is None and reader.has_begun:
        return out_of_step(function, "the beginning of a result and ended", ending)
    if ending.status == 0 and ending.cause is None:
        message = f"the command of {function.name!r} ended without a result"
        return Failure(reason=Reason.EXIT, message=message, exit_code=0, stderr=ending.stderr)
    return outcome_of(function, ending, spool)


def out_of_step(function: Function, what: str, ending: Ending) -> Failure:
    """The failure of a process that wrote what it was not asked for."""
    message = f"the process of {function.name!r} is out of step: it wrote {what}"
    return Failure(reason=Reason.OUT_OF_STEP, message=message, stderr=ending.stderr)


def not_started(error: NotStartedError) -> Failure:
    """The failure of a command that could not be started."""
    return Failure(reason=Reason.NOT_STARTED, message=str(error), exit_code=error.exit_code)


def _failure(function: Function, ending: Ending) -> Failure | None:
    subject = f"the command of {function.name!r}"
    if ending.cause is not None:
        message = f"{subject} {_WHY_ENDED[ending.cause].format(function=function)}"
        if ending.detail:
            message += f" ({ending.detail})"
        return Failure(reason=ending.cause, message=message, stderr=ending.stderr)
    if ending.status is not None and ending.status < 0:
        name = _signal_name(-ending.status)
        message = f"{subject} was ended by {name}"
        if name == "SIGKILL":
            message += ", as it is when memory runs out"
        return Failure(reason=Reason.SIGNAL, message=message, signal=name, stderr=ending.stderr)
    if ending.status:
        message = f"{subject} failed with exit status {ending.status}"
        return Failure(reason=Reason.EXIT, message=message, exit_code=ending.status, stderr=ending.stderr)
    return None


_WHY_ENDED = {
    Reason.TIMEOUT: "did not finish within its timeout of {function.timeout:g} s and was ended",
    Reason.OUTPUT_LIMIT: "wrote more than its max_output of {function.max_output} bytes and was ended",
    Reason.SHUTDOWN: "was ended because the worker shuts down",
}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _checked(function: Function, spool: Spool, ending: Ending) -> Result | Failure:
    if function.output == "bytes":
        return Result(spool)
    output = spool.getvalue()
    if function.output == "json":
        problem = json_problem(output)
        return Result(spool) if problem is None else _invalid(function, f"JSON: {problem}", ending)
    try:
        text = output.decode()
    except UnicodeDecodeError as error:
        return _invalid(function, f"UTF-8 text: byte {error.start}", ending)
    spool.clear()
    try:
        spool.write(msgspec.json.encode(text))
    except OSError as error:
        message = f"the output of {function.name!r} cannot be kept: {error.strerror}"
        return Failure(reason=Reason.OUTPUT_LIMIT, message=message, exit_code=0, stderr=ending.stderr)
    return Result(spool)


def _invalid(function: Function, what: str, ending: Ending) -> Failure:
    message = f"the output of {function.name!r} is not {what}"
    return Failure(reason=Reason.INVALID_OUTPUT, message=message, exit_code=0, stderr=ending.stderr)
