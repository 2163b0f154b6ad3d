"""Calls of the functions of a running `cm-exec dev`. It needs nothing of the extra."""

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import click

from cm_exec.devserver.instances import Instance, list_running, real_text
from cm_exec.errors import NoRuntimeError
from cm_exec.protocol.failure import Reason

TOKEN_VARIABLE: Final = "CM_EXEC_DEV_TOKEN"  # noqa: S105 - a variable's name
_FAILED: Final = 1
_TIMED_OUT: Final = 124
_LOG_SECONDS: Final = 0.1
_FAILURE_LOG_SECONDS: Final = 1.0
"""Seconds to wait for a handler's stderr; a failed one has mostly written why."""
_ERROR_RESULT_SECONDS: Final = 10.0
BROKEN_STREAM: Final = (http.client.IncompleteRead, ConnectionResetError)
"""What reading a response raises if the worker broke off its result."""
_PATIENCE: Final = 5.0
"""Seconds without a result after which `invoke --dev` reports what the job waits for: an SDK may never answer."""
_BLOCK: Final = 64 * 1024
_SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """Who calls: what the worker gets as the job's userId and authHeader."""

    user_id: str | None = None
    auth_header: str | None = None

    @property
    def headers(self) -> Mapping[str, bytes]:
        """The headers of a call."""
        named = {"X-User-Id": self.user_id, "X-Auth-Header": self.auth_header}
        return {name: value.encode() for name, value in named.items() if value is not None}


NOBODY: Final = CallIdentity()


def call_dev(
    function: str, query: bytes, *, url: str | None, config_path: Path, identity: CallIdentity = NOBODY
) -> int:
    """Send the query, write the result to stdout and the handler's stderr to stderr, return the exit status.

    `url` is that of a `cm-exec dev`; without it, the one that runs with `config_path` is called. Raises
    NoRuntimeError.
    """
    client = find_dev(url, config_path)
    with client.connection_errors():
        return _call(client, function, query, identity)


def find_dev(url: str | None, config_path: Path) -> "CallerClient":
    """Return the `cm-exec dev` at `url`, or else the one of `config_path`. Raises NoRuntimeError."""
    found = list_running()
    if url is None:
        wanted = real_text(config_path)
        matching = [instance for instance in found if instance.config_path == wanted]
        if not matching:
            sentence = (
                f"no cm-exec dev is running with {config_path}; start it in another terminal, or name its address "
                "with --dev-url"
            )
            raise NoRuntimeError(f"{sentence}\nrunning with other files:\n{_listed(found)}" if found else sentence)
        if len(matching) > 1:
            raise NoRuntimeError(
                f"more than one cm-exec dev is running; choose one with --dev-url:\n{_listed(matching)}"
            )
        return CallerClient(matching[0].url, matching[0].token)
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and parts.port != 0 and bool(parts.hostname and parts.hostname.encode("idna"))
    except ValueError:  # a port that is none, a bracket that is not closed, a label that is too long
        usable = False
    if not usable:
        raise click.BadParameter(
            f"expected an address such as http://127.0.0.1:8950, found {url!r}", param_hint="--dev-url"
        )
    address = f"http://{parts.netloc}"
    token = parse_qs(parts.query).get("token", [os.environ.get(TOKEN_VARIABLE, "")])[0]
    tokens = (instance.token for instance in found if _same_address(instance.url, address))
    return CallerClient(address, token or next(tokens, ""))


def _same_address(one: str, other: str) -> bool:
    return one == other.replace("//localhost:", "//127.0.0.1:")


def _listed(instances: Iterable[Instance]) -> str:
    return "\n".join(f"  {instance.url}  {instance.config_path}" for instance in instances)


class CallerClient:
    """The port for callers of a running `cm-exec dev`. Methods raise OSError and http.client.HTTPException."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(
        self, function: str, query: bytes, *, identity: CallIdentity = NOBODY, timeout: float = 0
    ) -> http.client.HTTPResponse:
        """Call a function and return the response, whose body is still to be read. A timeout of 0 means no limit."""
        path = f"/functions/{quote(function, safe='')}?timeout={timeout:g}"
        return self._request("POST", path, query, identity.headers)

    def job(self, job_id: str | None) -> dict[str, Any]:
        """Return what is known of a job; empty if nothing is."""
        found = self._get(f"/jobs/{job_id}")
        return found if isinstance(found, dict) else {}

    def ended_job(self, job_id: str | None) -> dict[str, Any]:
        """Return what is known of a job after its response. The error result of a broken stream may come later."""
        deadline = time.monotonic() + _ERROR_RESULT_SECONDS
        while (job := self.job(job_id)).get("state") == "running" and time.monotonic() < deadline:
            time.sleep(_LOG_SECONDS / 4)
        return job

    def slots(self) -> int:
        """Return how many jobs the worker has at a time."""
        with self.connection_errors():
            state = self._get("/state")
        return int(state["runtime"]["maxConcurrentTasks"]) if state else 1

    def obstacle(self, function: str) -> str:
        """Say what the newest job of a function waits for; nothing if it has ended."""
        jobs = (self._get(f"/jobs?limit=1&function={quote(function, safe='')}") or {}).get("jobs")
        if not jobs or jobs[0]["state"] not in {"queued", "running"}:
            return ""
        if jobs[0]["state"] == "running":
            return "the worker has the job"
        worker = self._get("/state")["worker"]["state"]
        return "no worker polls" if worker in {"absent", "silent"} else "the job waits for a slot"

    def stderr(self, job: Mapping[str, Any]) -> list[str]:
        """Return what the handler wrote. It comes with the worker's log, and so may come a little after the result."""
        began = time.monotonic()
        lines: list[str] = []
        while job and time.monotonic() - began < (
            _FAILURE_LOG_SECONDS if job["state"] != "done" and not lines else _LOG_SECONDS
        ):
            time.sleep(_LOG_SECONDS / 4)
            log = (self._get(f"/jobs/{job['id']}/log") or {}).get("log", ())
            lines = [line["line"] for line in log if line["stream"] == "stderr"]
        return lines

    @contextmanager
    def connection_errors(self) -> Iterator[None]:
        """Raise NoRuntimeError where the runtime does not answer."""
        try:
            yield
        except BrokenPipeError:
            raise  # our own stdout
        except (OSError, http.client.HTTPException) as error:
            raise NoRuntimeError(f"{self._url} does not answer: {str(error) or type(error).__name__}") from None

    def _get(self, path: str) -> Any:
        response = self._request("GET", path)
        return json.loads(response.read()) if response.status in _SUCCESS else None

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, bytes] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc)
        connection.request(method, path, body, {**self._headers, **(headers or {})})
        return connection.getresponse()


def _call(client: CallerClient, function: str, query: bytes, identity: CallIdentity) -> int:
    note = threading.Timer(_PATIENCE, _note_obstacle, (client, function))
    note.daemon = True
    note.start()
    try:
        response = client.call(function, query, identity=identity)
    finally:
        note.cancel()
    if response.status not in _SUCCESS:
        return _refused(response)
    try:
        while block := response.read1(_BLOCK):
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
    except BROKEN_STREAM:
        pass  # the worker broke off, and the job's state says so
    job = client.ended_job(response.headers.get("X-Job-Id"))
    for line in client.stderr(job):
        click.echo(line, err=True)
    return _exit_code(job)


def _note_obstacle(client: CallerClient, function: str) -> None:
    with suppress(OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        if why := client.obstacle(function):
            click.echo(f"cm-exec: no result after {_PATIENCE:g} s: {why}; Ctrl-C ends the wait", err=True)


def _refused(response: http.client.HTTPResponse) -> int:
    """Report an error of the runtime: 401 for the token, 502 for a lost job, 503 for the runtime's end."""
    text = response.read()
    with suppress(ValueError, TypeError, KeyError):
        text = json.loads(text)["error"].encode()
    if response.status == http.client.UNAUTHORIZED:
        text = f"the token is missing or wrong; set {TOKEN_VARIABLE}, or add ?token=TOKEN to --dev-url".encode()
    click.echo(f"cm-exec: {text.decode(errors='replace')}", err=True)
    return NoRuntimeError.exit_code if response.status == http.client.UNAUTHORIZED else _FAILED


def _exit_code(job: Mapping[str, Any]) -> int:
    """Return the status with which `cm-exec invoke` would exit for the job."""
    if job.get("state") == "done":
        return 0
    failure = job.get("failure") or {}
    message = failure.get("message") or job.get("reason") or "the job is not known any more"
    click.echo(f"\ncm-exec: {message}", err=True)
    if failure.get("reason") == Reason.TIMEOUT:
        return _TIMED_OUT
    with suppress(KeyError, TypeError):
        return 128 + signal.Signals[failure["signal"]]
    return failure.get("exitCode") or _FAILED
