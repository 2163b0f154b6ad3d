"""Call the functions of a compute module in tests, whatever it is written in.

    from cm_exec.testing import run_compute_module

    with run_compute_module(["python", "app.py"]) as module:
        assert module.call("double", 21) == 42

The command is started against a local runtime, with the variables that the platform sets. It needs the extra `dev`.
`cm_exec.testing.plugin` has the fixtures for pytest.
"""

import json
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cm_exec.errors import require_extra

if TYPE_CHECKING:  # pytest loads this package wherever cm-exec is installed, also without the extra
    from cm_exec.devserver.worker_process import LogEntry, WorkerProcess
    from cm_exec.local_runtime import LocalRuntime
    from cm_exec.local_runtime.core.worker_status import ProtocolViolation
    from cm_exec.local_runtime.worker_files import Style

__all__ = ["ComputeModule", "FunctionError", "ProtocolViolationError", "WorkerEndedError", "run_compute_module"]

_LOG_KEPT: Final = 1000
_LOG_SHOWN: Final = 20
_RESULT_SHOWN: Final = 200
_STOP_SECONDS: Final = 10.0


class FunctionError(Exception):
    """Raised when a function answers with an error result. `body` is the result, `reason` is cm-exec's word for it."""

    def __init__(self, message: str, *, body: bytes, reason: str | None = None) -> None:
        super().__init__(message)
        self.body = body
        self.reason = reason


class WorkerEndedError(Exception):
    """Raised when the command cannot be started, ends, or does not poll in time. Its text has the end of the log."""


class ProtocolViolationError(AssertionError):
    """Raised when the worker has broken the compute module protocol."""


class ComputeModule:
    """A running compute module. `run_compute_module` makes one."""

    def __init__(self, runtime: "LocalRuntime", log: "deque[str]") -> None:
        self.runtime = runtime
        """The runtime: to inject faults, and to look at jobs, requests and schemas."""
        self._log = log
        self.ended: str | None = None
        """How the worker ended; None while it runs."""

    def call(
        self,
        function: str,
        query: Any = None,
        *,
        timeout: float | None = 60.0,
        user_id: str | None = None,
        auth_header: str | None = None,
    ) -> Any:
        """Call a function with a JSON value and return its result, decoded. Without a query it gets `{}`.

        A timeout of None means no limit. Raises FunctionError for an error result, and for one that is not JSON,
        TimeoutError, WorkerEndedError, and ValueError for a query that JSON does not have, such as NaN.
        """
        text = json.dumps({} if query is None else query, allow_nan=False).encode()
        body = self.call_bytes(function, text, timeout=timeout, user_id=user_id, auth_header=auth_header)
        try:
            return json.loads(body)
        except ValueError:
            raise FunctionError(f"the result is not JSON: {body[:_RESULT_SHOWN]!r}", body=body) from None

    def call_bytes(
        self,
        function: str,
        query: bytes,
        *,
        timeout: float | None = 60.0,
        user_id: str | None = None,
        auth_header: str | None = None,
    ) -> bytes:
        """Call a function with JSON text and return its result as it was posted. Raises as `call` does."""
        from cm_exec.local_runtime.call import NoResultError  # noqa: PLC0415 - it needs the extra
        from cm_exec.protocol.json_text import json_problem  # noqa: PLC0415 - pytest loads this package everywhere

        if (problem := json_problem(query)) is not None:
            raise ValueError(f"the query is not JSON: {problem}")
        if self.ended is not None:
            raise self._end(self.ended)
        call = self.runtime.submit(function, query, timeout=timeout, user_id=user_id, auth_header=auth_header)
        try:
            result = call.wait()
        except NoResultError as error:
            if self.ended is not None:
                raise self._end(self.ended) from None
            raise TimeoutError(str(error)) from None
        if result.failure is not None:
            raise FunctionError(result.failure.message, body=result.body, reason=result.failure.reason)
        return result.body

    @property
    def log(self) -> list[str]:
        """The last lines that the worker wrote to stdout and stderr."""
        return list(self._log)

    @property
    def violations(self) -> "list[ProtocolViolation]":
        """What the worker did against the protocol so far."""
        return self.runtime.violations

    def assert_no_violation(self, *, since: int = 0) -> None:
        """Raise ProtocolViolationError if there was a protocol violation after the first `since`."""
        new = [each for each in self.violations if each.number > since]
        if new:
            listed = "\n".join(f"  {each.kind}: {each.message}" for each in new)
            raise ProtocolViolationError(f"the worker broke the compute module protocol:\n{listed}")

    def wait_until_ready(self, timeout: float) -> None:
        """Return when the worker polls. Raises WorkerEndedError."""
        deadline = time.monotonic() + timeout
        while not self.runtime.open_polls:
            if self.ended is not None:
                raise self._end(self.ended)
            if time.monotonic() > deadline:
                why = "; ".join(each.message for each in self.violations[-3:])
                raise self._end(f"did not poll within {timeout:g} s{f' ({why})' if why else ''}")
            time.sleep(0.005)

    def _end(self, how: str) -> WorkerEndedError:
        tail = "".join(f"\n  {line}" for line in self.log[-_LOG_SHOWN:])
        return WorkerEndedError(f"the worker {how}{f'; its log ends:{tail}' if tail else ''}")


@contextmanager
def run_compute_module(
    command: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    concurrency: int = 1,
    style: "Style" = "modern",
    start_timeout: float = 60.0,
) -> Iterator[ComputeModule]:
    """Run a command as the worker of a local runtime, from its first poll to the end of the context.

    `env` is added to this process's environment. `concurrency` is the module's MAX_CONCURRENT_TASKS. With the style
    `connection-file` the worker gets the connection file of older platforms. All processes of the command are ended
    at the end, also when this process is killed.

    Raises WorkerEndedError when the worker ends, or does not poll within `start_timeout` seconds; UsageError when the
    command cannot be started, or the extra is not installed.
    """
    require_extra("cm_exec.testing")
    from cm_exec.local_runtime import LocalRuntime  # noqa: PLC0415 - it needs the extra

    with (
        tempfile.TemporaryDirectory(prefix="cm-exec-testing-", ignore_cleanup_errors=True) as folder,
        LocalRuntime(Path(folder), max_concurrent_tasks=concurrency, plain_port=0) as runtime,
    ):
        variables = {**(env or {}), **runtime.environment(style)}
        module, worker = _started(runtime, command, variables, None if cwd is None else Path(cwd), Path(folder))
        try:
            module.wait_until_ready(start_timeout)
            yield module
        finally:
            runtime.hold()  # an open poll would keep a worker that ends in good order
            worker.stop(_STOP_SECONDS)


def _started(
    runtime: "LocalRuntime", command: Sequence[str], variables: Mapping[str, str], cwd: Path | None, folder: Path
) -> "tuple[ComputeModule, WorkerProcess]":
    """Start the worker of a module, which keeps its log and knows its end."""
    from cm_exec.devserver.worker_process import WorkerProcess, describe_exit, worker_environment  # noqa: PLC0415

    lines: deque[str] = deque(maxlen=_LOG_KEPT)
    module = ComputeModule(runtime, lines)

    def note(entry: "LogEntry") -> None:
        lines.append(entry.text)
        runtime.record_log(None, entry.text, "log")

    def end(worker: "WorkerProcess") -> None:
        module.ended = describe_exit(worker.exit_code)
        runtime.worker_gone(f"the worker {module.ended}")

    environment = worker_environment(variables)
    return module, WorkerProcess(command, environment, on_line=note, on_end=end, cwd=cwd, folder=folder)
