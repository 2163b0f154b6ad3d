"""Runs the tests of cm.toml with another program: a running `cm-exec dev`, or a worker of any kind."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from cm_exec.config import Function
from cm_exec.devserver.client import BROKEN_STREAM, CallIdentity, find_dev
from cm_exec.errors import NoRuntimeError
from cm_exec.function_tests import PreparedTest
from cm_exec.function_tests.outcome import check_outcome
from cm_exec.function_tests.runner import CompletedTest
from cm_exec.processes.signals import run_in_threads
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.json_text import InvalidJsonError, decode_json, json_problem

Outcome = tuple[bytes | Failure, bytes]
"""A result or a failure, and the stderr of the handler as far as it is known."""

_WORKER_ENDS_JOB: Final = 10.0
"""Seconds after a function's timeout for its worker to end the job by itself, and to answer."""


class RemoteWorker(NamedTuple):
    """Calls a function with JSON text, a timeout in seconds (0 for none) and a user ID; has jobs in `slots`."""

    call: Callable[[str, bytes, float, str | None], Outcome]
    slots: int


def run_remotely(
    functions: Mapping[str, Function],
    cases: Sequence[PreparedTest],
    worker: RemoteWorker,
    *,
    slots: int | None,
    fail_fast: bool,
    on_end: Callable[[CompletedTest], None],
) -> None:
    """Run each case once, as `FunctionTestRunner` does it. With `fail_fast` none starts after one has failed.

    `slots` is None for those of the worker: a case that waits for one would use up its timeout.
    """
    stopped = threading.Event()

    def run(case: PreparedTest) -> None:
        if stopped.is_set():
            return
        function = functions[case.test.function]
        timeout = case.test.timeout
        if timeout is None:
            timeout = function.timeout and function.timeout + _WORKER_ENDS_JOB
        began = time.monotonic()
        outcome, stderr = worker.call(function.name, case.query, timeout or 0, case.test.user_id)
        seconds = time.monotonic() - began
        problem = check_outcome(case, function, outcome, stderr)
        if fail_fast and problem is not None:
            stopped.set()
        on_end(CompletedTest(case=case, seconds=seconds, problem=problem, stderr=stderr))

    try:
        run_in_threads(run, cases, min(slots or worker.slots, len(cases)))
    finally:
        stopped.set()


@contextmanager
def running_dev(url: str | None, config_path: Path) -> Iterator[RemoteWorker]:
    """Give a running `cm-exec dev` as the worker. Raises NoRuntimeError."""
    client = find_dev(url, config_path)

    def call(function: str, query: bytes, timeout: float, user_id: str | None) -> Outcome:
        with client.connection_errors():
            response = client.call(function, query, timeout=timeout, identity=CallIdentity(user_id=user_id))
            body, is_broken = b"", False
            try:
                body = response.read()
            except BROKEN_STREAM:
                is_broken = True
            if response.status == http.client.UNAUTHORIZED:
                raise NoRuntimeError("the token for cm-exec dev is missing or wrong; see CM_EXEC_DEV_TOKEN")
            job = client.ended_job(response.headers.get("X-Job-Id"))
            stderr = "".join(f"{line}\n" for line in client.stderr(job)).encode() if job.get("state") != "done" else b""
        failure = job.get("failure")
        if failure is not None:
            return _reported_failure(failure["message"], failure["reason"], body), stderr
        if is_broken:
            reason = Reason.TIMEOUT if job.get("state") == "failed" else Reason.HANDLER
            return Failure(reason=reason, message=job.get("reason") or "the result broke off"), stderr
        if response.status != http.client.OK:
            reason = Reason.TIMEOUT if response.status == http.client.GATEWAY_TIMEOUT else Reason.HANDLER
            return Failure(reason=reason, message=str(json.loads(body)["error"])), stderr
        return body, stderr

    yield RemoteWorker(call, client.slots())


@contextmanager
def started_worker(command: Sequence[str], *, concurrency: int) -> Iterator[RemoteWorker]:
    """Start a command against a local runtime, and give it as the worker. Raises NoRuntimeError if it ends."""
    from cm_exec.testing import FunctionError, WorkerEndedError, run_compute_module  # noqa: PLC0415 - the extra `dev`

    def call(function: str, query: bytes, timeout: float, user_id: str | None) -> Outcome:
        try:
            return module.call_bytes(function, query, timeout=timeout or None, user_id=user_id), b""
        except FunctionError as error:
            return _reported_failure(str(error), error.reason, error.body), _stderr_in(error.body)
        except TimeoutError as error:
            return Failure(reason=Reason.TIMEOUT, message=str(error)), b""
        except WorkerEndedError as error:
            return Failure(reason=Reason.HANDLER, message=str(error)), b""

    try:
        with run_compute_module(command, concurrency=concurrency) as module:
            yield RemoteWorker(call, concurrency)
    except WorkerEndedError as error:
        raise NoRuntimeError(str(error)) from None


def _reported_failure(message: str, reason: str | None, body: bytes) -> Failure:
    """Return the failure that an error result reports. Only cm-exec gives such a reason."""
    if reason in set(Reason):
        return Failure(reason=Reason(reason), message=message)
    whole = msgspec.Raw(body) if json_problem(body) is None else None
    return Failure(reason=Reason.HANDLER, message=message, error=whole)


def _stderr_in(body: bytes) -> bytes:
    """Return the stderr in an error result of cm-exec."""
    with suppress(InvalidJsonError):
        members = decode_json(body)
        if isinstance(members, dict) and isinstance(members.get("stderr"), str):
            return str(members["stderr"]).encode(errors="replace")
    return b""
