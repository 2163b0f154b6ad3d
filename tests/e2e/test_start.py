import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support import responses
from tests.support.certificates import Authority
from tests.support.replica import without
from tests.support.request_log import Endpoint
from tests.support.toml import function, table
from tests.support.worker import Worker
from tests.support.worker_harness import WorkerHarness

if TYPE_CHECKING:
    from pathlib import Path

ECHO = function("f", ["cat"])


def stays_without_poll(worker: Worker) -> None:
    """Check for a while that the worker runs and sends no request; there is no event to wait for."""
    time.sleep(1.0)
    assert worker.is_running(), worker.log
    assert worker.runtime.request_log.all() == []


@pytest.mark.parametrize("style", ["modern", "original"])
def test_styles_of_connection(harness: WorkerHarness, style: str) -> None:
    """Both styles of connection lead to the runtime."""
    connection = harness.replica.modern() if style == "modern" else harness.replica.original()
    harness.start(ECHO, environment=harness.environment(connection))
    assert harness.runtime.call("f", b"[1]") == b"[1]"
    assert {r.head.header("module-auth-token") for r in harness.runtime.request_log.all()} == {harness.runtime.token}


@pytest.mark.parametrize(
    "missing", [("MODULE_AUTH_TOKEN",), ("CONNECTIONS_TO_OTHER_PODS_CA_PATH", "MODULE_AUTH_TOKEN")]
)
def test_the_connection_file_alone_is_enough(harness: WorkerHarness, missing: tuple[str, ...]) -> None:
    harness.start(ECHO, environment=harness.environment(without(harness.replica.original(), *missing)))
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_peer_ca(harness: WorkerHarness) -> None:
    """The CA of peers is used if there is no default CA."""
    connection = without(harness.replica.modern(), "DEFAULT_CA_PATH")
    connection["CONNECTIONS_TO_OTHER_PODS_CA_PATH"] = str(harness.replica.ca_file)
    harness.start(ECHO, environment=harness.environment(connection))
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_the_token_may_be_given_literally(harness: WorkerHarness) -> None:
    harness.start(ECHO, environment={**harness.environment(), "MODULE_AUTH_TOKEN": harness.runtime.token})
    assert harness.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for name in ("ca_file", "connection_file", "token_file") for part in (None, 0, 0.5)][:-1],
)
def test_late_file(harness: WorkerHarness, name: str, part: float | None) -> None:
    """The worker waits for a file that is absent or partly written.

    Half a token looks complete, and is read again after a 401.
    """
    file: Path = getattr(harness.replica, name)
    content = file.read_bytes()
    if part is None:
        file.unlink()
    else:
        file.write_bytes(content[: int(len(content) * part)])
    connection = harness.replica.original() if name == "connection_file" else harness.replica.modern()
    worker = harness.launch(ECHO, environment=harness.environment(connection))
    stays_without_poll(worker)
    file.write_bytes(content)
    worker.wait_until_ready()
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_restart_notification(harness: WorkerHarness) -> None:
    """The restart is posted once, before the first poll."""
    harness.runtime.poll_seconds = 0.1
    harness.start(ECHO)
    harness.runtime.call("f")
    harness.runtime.wait_for_poll(after=5)
    requests = harness.runtime.request_log.all()
    restarts = [n for n, r in enumerate(requests) if r.endpoint == Endpoint.RESTART]
    first_poll = next(n for n, r in enumerate(requests) if r.endpoint == Endpoint.JOB)
    assert len(restarts) == 1
    assert restarts[0] < first_poll
    assert bytes(requests[restarts[0]].body) == b""


def test_refused_restart_notification(harness: WorkerHarness) -> None:
    """A refused restart notification is retried before the first poll."""
    harness.runtime.go_down()
    worker = harness.launch(ECHO)
    stays_without_poll(worker)
    harness.runtime.come_back()
    worker.wait_until_ready()
    endpoints = [r.endpoint for r in harness.runtime.request_log.all()]
    assert endpoints.count(Endpoint.RESTART) == 1
    assert endpoints.index(Endpoint.RESTART) < endpoints.index(Endpoint.JOB)


def test_broken_restart_notification(harness: WorkerHarness) -> None:
    """A broken restart notification is not repeated after the first poll."""
    harness.runtime.poll_seconds = 0.1
    harness.runtime.script(Endpoint.RESTART, responses.reset_before_response)
    harness.start(ECHO)
    harness.runtime.wait_for_poll(after=5)
    endpoints = [r.endpoint for r in harness.runtime.request_log.all()]
    assert Endpoint.RESTART not in endpoints[endpoints.index(Endpoint.JOB) :]


@pytest.mark.parametrize("status", [404, 500])
def test_failing_restart_endpoint(harness: WorkerHarness, status: int) -> None:
    """A restart endpoint that fails gets one request."""
    harness.runtime.always(Endpoint.RESTART, responses.answer(status, b"no"))
    harness.start(ECHO)
    assert harness.runtime.call("f", b"[1]") == b"[1]"
    assert len(harness.runtime.request_log.all(Endpoint.RESTART)) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [responses.answer(500), responses.answer(404), responses.garbage, responses.reset_before_response],
    ids=["500", "404", "garbage", "reset"],
)
def test_failing_start_endpoints(harness: WorkerHarness, fault: responses.Behaviour) -> None:
    """A schema or restart endpoint that always fails does not stop the worker."""
    harness.runtime.always(Endpoint.SCHEMA, fault)
    harness.runtime.always(Endpoint.RESTART, fault)
    worker = harness.launch(ECHO)
    harness.runtime.wait_for_poll(seconds=60)
    worker.wait_until_ready()
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_no_restart_endpoint(harness: WorkerHarness) -> None:
    """No restart is posted if the platform names no endpoint."""
    harness.start(ECHO, environment=harness.environment(without(harness.replica.modern(), "RESTART_NOTIFICATION_URI")))
    assert harness.runtime.call("f", b"[1]") == b"[1]"
    assert harness.runtime.request_log.all(Endpoint.RESTART) == []


WRONG: dict[str, tuple[Callable[[Authority], ssl.SSLContext], str]] = {
    "other CA": (lambda _: Authority().good(), "DEFAULT_CA_PATH|CA|not signed|issuer|trust"),
    "expired": (lambda authority: authority.expired(), "expired"),
    "other name": (lambda authority: authority.named("example.org"), "example.org|localhost"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_untrusted_runtime(harness: WorkerHarness, authority: Authority, fault: str) -> None:
    """A runtime that is not trusted gets no request, and the log says why."""
    show, words = WRONG[fault]
    harness.runtime.show_certificate(show(authority))
    worker = harness.launch(ECHO)
    request_log = harness.runtime.request_log
    request_log.wait_for(lambda: len(request_log.handshake_failures) >= 3, what="three tries")
    assert request_log.all() == []
    assert "certificate" in worker.log
    assert any(word in worker.log for word in words.split("|"))
    assert "Traceback" not in worker.log
    harness.runtime.show_certificate(authority.good())
    worker.wait_until_ready()


def test_replaced_ca(harness: WorkerHarness) -> None:
    """A CA that is replaced on disk is read again when the runtime restarts with a certificate of the new authority."""
    harness.start(ECHO)
    following = Authority()
    harness.runtime.go_down()
    harness.runtime.show_certificate(following.good())
    harness.replica.ca_file.write_bytes(following.pem)
    harness.runtime.come_back()
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_no_tls(harness: WorkerHarness) -> None:
    """A listener without TLS gets no request."""
    harness.runtime.show_certificate(None)
    worker = harness.launch(ECHO)
    request_log = harness.runtime.request_log
    request_log.wait_for(lambda: request_log.connections >= 2, what="two tries")
    assert request_log.all() == []
    assert worker.is_running()
    assert "Traceback" not in worker.log


def test_tls_server_name(harness: WorkerHarness, authority: Authority) -> None:
    """The option tls_server_name sets the name that is checked."""
    harness.runtime.show_certificate(authority.named("runtime.example"))
    harness.start(ECHO + table("launcher", tls_server_name="runtime.example"))
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_proxies(harness: WorkerHarness) -> None:
    """The proxies of the environment are not used for the runtime."""
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    harness.start(ECHO, environment={**harness.environment(), **proxies})
    assert harness.runtime.call("f", b"[1]") == b"[1]"


@contextlib.contextmanager
def ipv6_trap(port: int) -> Iterator[socket.socket]:
    """Listen on ::1, as something other than the runtime."""
    try:
        trap = socket.create_server(("::1", port), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with trap:
        yield trap


def test_localhost_is_ipv4_first(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """The IPv4 address of localhost is tried first, even if ::1 comes first and another program listens there."""
    hosts = harness.folder / "hosts"
    hosts.write_text("::1 localhost\n127.0.0.1 localhost\n")
    script = 'mount --bind hosts /etc/hosts && exec "$@"'
    with ipv6_trap(harness.runtime.port) as trap:
        harness.start(ECHO, wrapper=[*unshare, "--mount", "sh", "-c", script, "sh"])
        assert harness.runtime.call("f", b"[1]") == b"[1]"
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()
