"""`cm-exec invoke --dev`: a query for a `cm-exec dev` that runs. It needs nothing of the extra."""

import http.client
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

import click

from cm_exec.devserver.instances import Address, list_running
from cm_exec.protocol.failure import Reason

_FAILED: Final = 1
_TIMED_OUT: Final = 124
_LOG: Final = 0.1
_LOG_OF_FAILURE: Final = 1.0
"""Seconds that a handler's stderr is waited for; a failure has mostly said why."""
_BLOCK: Final = 64 * 1024
_SUCCESS: Final = range(200, 300)


class NoDevError(Exception):
    """There is no `cm-exec dev` to send to, or it is gone."""

    exit_code: ClassVar = 4


def call_dev(function: str, query: bytes, *, url: str | None, config_path: Path) -> int:
    """Send the query, write the result to stdout and the handler's stderr to stderr; the exit status for it.

    `url` is that of a `cm-exec dev`; without it, the one that runs with `config_path` is meant, or else the only one.
    Raises NoDevError.
    """
    url = url or _find(config_path)
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise click.BadParameter(f"{url!r} is not like http://127.0.0.1:8950", param_hint="--dev-url")
    with _connection_errors(url):
        return _call(CallerClient(parts.hostname, parts.port or 80), function, query)


class CallerClient:
    """The port for callers of a running `cm-exec dev`."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def post(self, path: str, body: bytes) -> http.client.HTTPResponse:
        """The answer's beginning. Raises OSError, http.client.HTTPException."""
        return self._request("POST", path, body)

    def get(self, path: str) -> Any:
        """JSON, as Python has it; None where there is none. Raises OSError, http.client.HTTPException."""
        response = self._request("GET", path)
        return json.loads(response.read()) if response.status in _SUCCESS else None

    def _request(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(*self._address)
        connection.request(method, path, body)
        return connection.getresponse()


def _call(desk: CallerClient, function: str, query: bytes) -> int:
    response = desk.post(f"/functions/{quote(function, safe='')}?timeout=0", query)
    job_id = response.headers.get("X-Job-Id")
    if response.status not in _SUCCESS:
        return _refused(response)
    try:
        while block := response.read1(_BLOCK):
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
    except http.client.IncompleteRead:
        pass  # the worker broke off, and the job's state tells
    job = desk.get(f"/jobs/{job_id}") or {}
    for line in _stderr(desk, job):
        click.echo(line, err=True)
    return _exit_code(job)


def _stderr(desk: CallerClient, job: dict[str, Any]) -> list[str]:
    """What the handler wrote. It comes by the worker's log, and so may come a little after the result."""
    began = time.monotonic()
    lines: list[str] = []
    while job and time.monotonic() - began < (_LOG_OF_FAILURE if job["state"] != "done" and not lines else _LOG):
        time.sleep(_LOG / 4)
        log = (desk.get(f"/jobs/{job['id']}/log") or {}).get("log", ())
        lines = [line["line"] for line in log if line["stream"] == "stderr"]
    return lines


def _refused(response: http.client.HTTPResponse) -> int:
    """A 502 is a lost job, a 503 the runtime's end."""
    text = response.read()
    with suppress(ValueError, TypeError, KeyError):
        text = json.loads(text)["error"].encode()
    click.echo(f"cm-exec: {text.decode(errors='replace')}", err=True)
    return _FAILED


def _exit_code(job: dict[str, Any]) -> int:
    """As `cm-exec invoke` would exit for it."""
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


def _find(config_path: Path) -> str:
    found = list_running()
    wanted = str(config_path.resolve())
    matching = [address for address in found if address.config_path == wanted] or found
    if not matching:
        raise NoDevError("no cm-exec dev runs; start it in another terminal, or say where it is with --dev-url")
    if len(matching) > 1:
        raise NoDevError(f"several run; say which with --dev-url:\n{_listed(matching)}")
    return matching[0].url


def _listed(addresses: list[Address]) -> str:
    return "\n".join(f"  {address.url}  {address.config_path}" for address in addresses)


@contextmanager
def _connection_errors(url: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # our own stdout
    except (OSError, http.client.HTTPException) as error:
        raise NoDevError(f"{url} does not answer: {str(error) or type(error).__name__}") from None
