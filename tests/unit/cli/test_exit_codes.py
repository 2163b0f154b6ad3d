"""Which exit code belongs to which end, as values; the program itself is tried end to end."""

import signal

import pytest

from cm_exec.cli.invoke import _exit_code
from cm_exec.errors import AuthenticationError, ConfigError, NoRuntimeError, PreflightError, exit_code_of
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.runtime.retry import NotReadyError, RequestError
from cm_exec.worker.main import _platform_concurrency


class StrangeError(Exception):
    exit_code = 7


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PreflightError("x"), 3),
        (NoRuntimeError("x"), 4),
        (AuthenticationError("x"), 5),
        (NotReadyError("x"), None),
        (RequestError("x"), None),
        (ValueError("x"), None),
        (StrangeError("x"), None),
    ],
)
def test_exit_code_of(error: Exception, code: int | None) -> None:
    assert exit_code_of(error) == code


def test_codes() -> None:
    assert [c.exit_code for c in (ConfigError, NoRuntimeError, AuthenticationError)] == [3, 4, 5]


def failure(reason: Reason, *, exit_code: int | None = None, signalled: str | None = None) -> Failure:
    return Failure(reason=reason, message="m", exit_code=exit_code, signal=signalled)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (failure(Reason.EXIT, exit_code=3), 3),
        (failure(Reason.TIMEOUT), 124),
        (failure(Reason.NOT_STARTED, exit_code=126), 126),
        (failure(Reason.NOT_STARTED, exit_code=127), 127),
        (failure(Reason.SIGNAL, signalled="SIGKILL"), 128 + 9),
        (failure(Reason.SIGNAL, signalled="SIGRTMIN"), 128 + signal.SIGRTMIN),
        (failure(Reason.SIGNAL, signalled="SIG40"), 128 + 40),
        (failure(Reason.INVALID_OUTPUT, exit_code=0), 1),
        (failure(Reason.OUTPUT_LIMIT), 1),
        (failure(Reason.SHUTDOWN), 1),
    ],
)
def test_invoke_s_status_is_the_command_s(outcome: Failure, code: int) -> None:
    assert _exit_code(outcome) == code


@pytest.mark.parametrize(
    ("text", "slots"), [(None, 1), ("4", 4), (" 2 ", 2), ("0", 1), ("-3", 1), ("", 1), ("many", 1), ("1.5", 1)]
)
def test_platform_concurrency(text: str | None, slots: int) -> None:
    """The platform's number of tasks is at least one."""
    assert _platform_concurrency({} if text is None else {"MAX_CONCURRENT_TASKS": text}) == slots
