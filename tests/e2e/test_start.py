import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support import behaviours
from tests.support.bench import Bench
from tests.support.certificates import Authority
from tests.support.ledger import Endpoint
from tests.support.replica import without
from tests.support.toml import function, table
from tests.support.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

ECHO = function("f", ["cat"])


def stays_without_poll(worker: Worker, seconds: float = 1.0) -> None:
    """Check for a while that the worker runs and sends no request; there is no event to wait for."""
    time.sleep(seconds)
    assert worker.is_running(), worker.log
    assert worker.runtime.ledger.all() == []


@pytest.mark.parametrize("style", ["modern", "original"])
def test_both_styles_of_connection_lead_to_the_runtime(bench: Bench, style: str) -> None:
    connection = bench.replica.modern() if style == "modern" else bench.replica.original()
    bench.start(ECHO, environment=bench.environment(connection))
    assert bench.runtime.call("f", b"[1]") == b"[1]"
    assert {r.head.header("module-auth-token") for r in bench.runtime.ledger.all()} == {bench.runtime.token}


@pytest.mark.parametrize(
    "missing", [("MODULE_AUTH_TOKEN",), ("CONNECTIONS_TO_OTHER_PODS_CA_PATH", "MODULE_AUTH_TOKEN")]
)
def test_the_connection_file_alone_is_enough(bench: Bench, missing: tuple[str, ...]) -> None:
    bench.start(ECHO, environment=bench.environment(without(bench.replica.original(), *missing)))
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_the_peer_ca_serves_where_the_default_ca_is_not_given(bench: Bench) -> None:
    connection = without(bench.replica.modern(), "DEFAULT_CA_PATH")
    connection["CONNECTIONS_TO_OTHER_PODS_CA_PATH"] = str(bench.replica.ca_file)
    bench.start(ECHO, environment=bench.environment(connection))
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_the_token_may_be_given_literally(bench: Bench) -> None:
    bench.start(ECHO, environment={**bench.environment(), "MODULE_AUTH_TOKEN": bench.runtime.token})
    assert bench.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.parametrize("name", ["token_file", "ca_file", "connection_file"])
def test_a_file_that_comes_late_is_waited_for(bench: Bench, name: str) -> None:
    late: Path = getattr(bench.replica, name)
    content = late.read_bytes()
    late.unlink()
    connection = bench.replica.original() if name == "connection_file" else bench.replica.modern()
    worker = bench.launch(ECHO, environment=bench.environment(connection))
    stays_without_poll(worker)
    late.write_bytes(content)
    worker.wait_until_ready()
    assert bench.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.parametrize(
    ("name", "part"),
    [("token_file", 0), ("ca_file", 0), ("ca_file", 0.5), ("connection_file", 0), ("connection_file", 0.5)],
)
def test_a_file_that_is_half_written_is_waited_for(bench: Bench, name: str, part: float) -> None:
    """Half a token cannot be told from a whole one; it is read again after the 401 that follows."""
    file: Path = getattr(bench.replica, name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])
    connection = bench.replica.original() if name == "connection_file" else bench.replica.modern()
    worker = bench.launch(ECHO, environment=bench.environment(connection))
    stays_without_poll(worker)
    file.write_bytes(content)
    worker.wait_until_ready()
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_the_restart_is_notified_once_before_the_first_poll(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.1
    bench.start(ECHO)
    bench.runtime.call("f")
    bench.runtime.wait_for_poll(after=5)
    requests = bench.runtime.ledger.all()
    restarts = [n for n, r in enumerate(requests) if r.endpoint == Endpoint.RESTART]
    first_poll = next(n for n, r in enumerate(requests) if r.endpoint == Endpoint.JOB)
    assert len(restarts) == 1
    assert restarts[0] < first_poll
    assert bytes(requests[restarts[0]].body) == b""


def test_a_refused_restart_notification_is_tried_again_before_the_first_poll(bench: Bench) -> None:
    bench.runtime.go_down()
    worker = bench.launch(ECHO)
    stays_without_poll(worker)
    bench.runtime.come_back()
    worker.wait_until_ready()
    endpoints = [r.endpoint for r in bench.runtime.ledger.all()]
    assert endpoints.count(Endpoint.RESTART) == 1
    assert endpoints.index(Endpoint.RESTART) < endpoints.index(Endpoint.JOB)


def test_a_restart_notification_that_breaks_is_never_repeated_once_polling(bench: Bench) -> None:
    bench.runtime.poll_seconds = 0.1
    bench.runtime.script(Endpoint.RESTART, behaviours.reset_before_response)
    bench.start(ECHO)
    bench.runtime.wait_for_poll(after=5)
    endpoints = [r.endpoint for r in bench.runtime.ledger.all()]
    assert Endpoint.RESTART not in endpoints[endpoints.index(Endpoint.JOB) :]


@pytest.mark.parametrize("status", [404, 500])
def test_a_restart_endpoint_that_fails_is_left_alone(bench: Bench, status: int) -> None:
    bench.runtime.always(Endpoint.RESTART, behaviours.answer(status, b"no"))
    bench.start(ECHO)
    assert bench.runtime.call("f", b"[1]") == b"[1]"
    assert len(bench.runtime.ledger.all(Endpoint.RESTART)) == 1


@pytest.mark.parametrize(
    "fault",
    [behaviours.answer(500), behaviours.answer(404), behaviours.garbage, behaviours.reset_before_response],
    ids=["500", "404", "garbage", "reset"],
)
def test_a_schema_or_restart_endpoint_that_always_fails_never_stops_the_worker(
    bench: Bench, fault: behaviours.Behaviour
) -> None:
    bench.runtime.always(Endpoint.SCHEMA, fault)
    bench.runtime.always(Endpoint.RESTART, fault)
    worker = bench.launch(ECHO)
    bench.runtime.wait_for_poll(seconds=60)
    worker.wait_until_ready()
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_no_restart_is_notified_where_the_platform_names_no_endpoint(bench: Bench) -> None:
    bench.start(ECHO, environment=bench.environment(without(bench.replica.modern(), "RESTART_NOTIFICATION_URI")))
    assert bench.runtime.call("f", b"[1]") == b"[1]"
    assert bench.runtime.ledger.all(Endpoint.RESTART) == []


WRONG: dict[str, tuple[Callable[[Authority], ssl.SSLContext], str]] = {
    "other CA": (lambda _: Authority().good(), "DEFAULT_CA_PATH|CA|not signed|issuer|trust"),
    "expired": (lambda authority: authority.expired(), "expired"),
    "other name": (lambda authority: authority.named("example.org"), "example.org|localhost"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_no_request_leaves_over_an_untrusted_connection_and_the_log_says_why(
    bench: Bench, authority: Authority, fault: str
) -> None:
    show, words = WRONG[fault]
    bench.runtime.show_certificate(show(authority))
    worker = bench.launch(ECHO)
    ledger = bench.runtime.ledger
    ledger.wait_for(lambda: len(ledger.handshake_failures) >= 3, what="three tries")
    assert ledger.all() == []
    assert "certificate" in worker.log
    assert any(word in worker.log for word in words.split("|"))
    assert "Traceback" not in worker.log
    bench.runtime.show_certificate(authority.good())
    worker.wait_until_ready()


def test_a_ca_that_is_replaced_on_disk_is_read_again(bench: Bench) -> None:
    """With the runtime's connections broken, as when it starts anew with a certificate of the next authority."""
    bench.start(ECHO)
    following = Authority()
    bench.runtime.go_down()
    bench.runtime.show_certificate(following.good())
    bench.replica.ca_file.write_bytes(following.pem)
    bench.runtime.come_back()
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_a_listener_that_speaks_no_tls_gets_no_request(bench: Bench) -> None:
    bench.runtime.show_certificate(None)
    worker = bench.launch(ECHO)
    ledger = bench.runtime.ledger
    ledger.wait_for(lambda: ledger.connections >= 2, what="two tries")
    assert ledger.all() == []
    assert worker.is_running()
    assert "Traceback" not in worker.log


def test_tls_server_name_is_the_name_that_is_checked(bench: Bench, authority: Authority) -> None:
    bench.runtime.show_certificate(authority.named("runtime.example"))
    bench.start(ECHO + table("launcher", tls_server_name="runtime.example"))
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_proxies_of_the_environment_are_not_used_for_the_runtime(bench: Bench) -> None:
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    bench.start(ECHO, environment={**bench.environment(), **proxies})
    assert bench.runtime.call("f", b"[1]") == b"[1]"


@contextlib.contextmanager
def ipv6_trap(port: int) -> Iterator[socket.socket]:
    """Listen on ::1, as something other than the runtime."""
    try:
        trap = socket.create_server(("::1", port), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with trap:
        yield trap


def test_localhost_is_dialled_at_its_ipv4_address_first(bench: Bench, unshare: tuple[str, ...]) -> None:
    """In a mount namespace where localhost is ::1 first; another program has the port there."""
    hosts = bench.folder / "hosts"
    hosts.write_text("::1 localhost\n127.0.0.1 localhost\n")
    script = 'mount --bind hosts /etc/hosts && exec "$@"'
    with ipv6_trap(bench.runtime.port) as trap:
        bench.start(ECHO, wrapper=[*unshare, "--mount", "sh", "-c", script, "sh"])
        assert bench.runtime.call("f", b"[1]") == b"[1]"
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()
