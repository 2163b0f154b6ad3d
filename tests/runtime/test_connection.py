"""One connection with a real server over real TLS: kept alive, broken anywhere, given up, or not to be trusted."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from cm_exec.runtime.location import Endpoint as At

from cm_exec.runtime import connection as connection_module
from cm_exec.runtime.connection import Chunked, Connection
from cm_exec.runtime.errors import ExchangeError
from cm_exec.runtime.http import Answer
from cm_exec.runtime.tls import tls_context
from tests.support import behaviours
from tests.support.behaviours import Behaviour, Exchange
from tests.support.certificates import Authority
from tests.support.drip import Drip
from tests.support.ledger import Endpoint
from tests.support.scripted_runtime import API, TOKEN, ScriptedRuntime
from tests.support.wire import HungUp

JOB, RESULT = f"{API}/job", f"{API}/results/j"
AUTH = ("Module-Auth-Token", TOKEN)
LONG = 30.0
Connect = Callable[..., Connection]


@dataclass(frozen=True, slots=True)
class Zeros:
    """A large body that is made as it is sent."""

    size: int
    sent: list[int] = field(default_factory=list)

    def chunks(self) -> Iterator[bytes]:
        self.sent.append(0)
        for start in range(0, self.size, 1 << 20):
            self.sent[-1] += 1
            yield bytes(min(1 << 20, self.size - start))


@pytest.fixture
def connect(runtime: ScriptedRuntime, authority: Authority) -> Iterator[Connect]:
    runtime.poll_seconds = 0.01
    opened: list[Connection] = []

    def connect(*, host: str = "localhost", server_name: str | None = None, **options: Any) -> Connection:
        tls = tls_context(authority.pem.decode())
        opened.append(Connection(At(host, runtime.port, ""), tls, server_name, **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def poll(connection: Connection) -> Answer:
    return connection.request("GET", JOB, (AUTH,))


def post(connection: Connection, body: Any = b"result") -> Answer:
    return connection.request("POST", RESULT, (AUTH, ("Content-Type", "application/octet-stream")), body)


def failure(request: Callable[[], object]) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        request()
    return caught.value


@contextmanager
def on_a_thread(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` meanwhile; it must come to an end by itself."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(LONG)
    assert not thread.is_alive()


def test_requests_share_one_connection(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = connect()
    runtime.submit("f", b"[1]", job_id="j")
    assert poll(connection).body.endswith(b'"query":[1]}}')
    assert post(connection).status == 204
    assert [poll(connection).status for _ in range(3)] == [204] * 3
    assert runtime.ledger.connections == 1


def test_a_request_carries_what_it_should(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    post(connect(), b"abc")
    (request,) = runtime.posts("j")
    assert dict(request.head.headers) == {
        "host": f"localhost:{runtime.port}",
        "module-auth-token": TOKEN,
        "content-type": "application/octet-stream",
        "content-length": "3",
    }


def test_an_empty_result_has_a_length_too(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    assert post(connect(), b"").status == 204
    assert runtime.posts("j")[0].head.header("content-length") == "0"


@pytest.mark.parametrize("size", [1, 8 * 1024, 8 * 1024 + 1, 20_000_000])
def test_a_body_of_any_size_arrives_whole(runtime: ScriptedRuntime, connect: Connect, size: int) -> None:
    runtime.submit("f", job_id="j")
    connection = connect()
    assert post(connection, bytes(size)).status == 204
    assert post(connection, Zeros(size)).status == 204
    assert [(p.size, p.complete) for p in runtime.posts("j")] == [(size, True)] * 2
    assert runtime.posts("j")[0].sha256 == runtime.posts("j")[1].sha256


@pytest.mark.parametrize("announced", [True, False])
def test_a_connection_that_was_closed_meanwhile_is_opened_again_in_silence(
    runtime: ScriptedRuntime, connect: Connect, announced: bool
) -> None:
    connection = connect()
    runtime.script(Endpoint.JOB, behaviours.then_close(behaviours.answer(204), announced=announced))
    poll(connection)
    runtime.ledger.wait_for(lambda: not runtime._wires, what="the end of the connection")
    assert poll(connection).status == 204
    assert runtime.ledger.connections == 2
    assert len(runtime.ledger.all()) == 2


def test_a_large_body_is_sent_again_from_its_start_on_a_new_connection(
    runtime: ScriptedRuntime, connect: Connect
) -> None:
    connection, body = connect(), Zeros(20_000_000)
    runtime.submit("f", job_id="j")
    poll(connection)
    runtime.script(Endpoint.RESULT, behaviours.reset_within_request(5_000_000))
    assert post(connection, body).status == 204
    assert [p.size for p in runtime.posts("j")] == [5_000_000, body.size]
    assert len(body.sent) == 2


def test_a_new_connection_that_is_closed_is_a_failure_and_not_tried_again(
    runtime: ScriptedRuntime, connect: Connect
) -> None:
    runtime.always(Endpoint.JOB, behaviours.reset_before_response)
    error = failure(lambda: poll(connect()))
    assert "closed without an answer" in str(error)
    assert (error.never_connected, error.untrusted, error.partial) == (False, False, b"")
    assert len(runtime.ledger.all()) == 1


def test_a_kept_alive_connection_is_tried_only_once_more(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = connect()
    poll(connection)
    runtime.always(Endpoint.JOB, behaviours.reset_before_response)
    assert "closed without an answer" in str(failure(lambda: poll(connection)))
    assert len(runtime.ledger.all()) == 3


def test_after_a_failure_the_next_request_has_a_new_connection(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = connect()
    runtime.script(Endpoint.JOB, behaviours.garbage)
    failure(lambda: poll(connection))
    assert poll(connection).status == 204
    assert runtime.ledger.connections == 2


def close_early(exchange: Exchange) -> None:
    """Refuse after the first byte and close without reading the rest, as most servers do."""
    exchange.receive(1)
    exchange.respond(413, b"too large", [("Connection", "close")])
    raise HungUp


def reset_early(exchange: Exchange) -> None:
    """The same, with a reset."""
    exchange.receive(1)
    exchange.respond(413, b"too large", [("Connection", "close")])
    exchange.wire.reset()
    raise HungUp


@pytest.mark.parametrize(
    "behaviour",
    [behaviours.answer_early(413), close_early, reset_early],
)
@pytest.mark.parametrize("body", [bytes(64 << 20), Zeros(64 << 20)], ids=["bytes", "spooled"])
def test_a_refusal_while_a_large_body_is_sent_is_seen(
    runtime: ScriptedRuntime, connect: Connect, behaviour: Behaviour, body: Any
) -> None:
    runtime.script(Endpoint.RESULT, behaviour)
    connection = connect()
    assert post(connection, body).status == 413
    assert poll(connection).status == 204


def test_a_server_that_accepts_half_a_result_and_closes_has_not_accepted_it(
    runtime: ScriptedRuntime, connect: Connect
) -> None:
    def accept_early(exchange: Exchange) -> None:
        exchange.receive(1)
        exchange.respond(204, b"", [("Connection", "close")])
        raise HungUp

    runtime.script(Endpoint.RESULT, accept_early)
    error = failure(lambda: post(connect(), Zeros(64 << 20)))
    assert "answered 204 and closed before all was sent" in str(error)


def test_a_refusal_by_a_server_that_stops_reading_is_seen(runtime: ScriptedRuntime, connect: Connect) -> None:
    def refuse_and_stand_still(exchange: Exchange) -> None:
        exchange.receive(1)
        exchange.respond(413)
        exchange.stopping.wait()
        raise HungUp

    runtime.script(Endpoint.RESULT, refuse_and_stand_still)
    assert post(connect(read_timeout=1.0), Zeros(64 << 20)).status == 413


def test_a_server_that_stops_reading_is_given_up(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.RESULT, behaviours.stop_reading(1))
    error = failure(lambda: post(connect(read_timeout=0.5), Zeros(64 << 20)))
    assert "no answer within 0.5 s" in str(error)


@pytest.mark.parametrize("size", [1, 1000])
def test_bytes_may_come_and_go_in_the_smallest_pieces(
    runtime: ScriptedRuntime, authority: Authority, size: int
) -> None:
    runtime.poll_seconds = 0.01
    query = b'"%s"' % (b"q" * (100 * size))
    runtime.submit("f", query, job_id="j")
    with Drip(runtime.port, size=size) as drip:
        connection = Connection(At("localhost", drip.port, ""), tls_context(authority.pem.decode()), None)
        assert poll(connection).body.endswith(query + b"}}")
        assert post(connection, bytes(300 * size)).status == 204
        assert poll(connection).status == 204
        connection.close()
    assert runtime.posts("j")[0].size == 300 * size
    assert runtime.ledger.connections == 1


def test_a_connection_on_which_something_came_unasked_is_not_used_again(
    runtime: ScriptedRuntime, connect: Connect
) -> None:
    """Such as the 408 that some servers send before they close an idle connection."""

    def answer_and_warn(exchange: Exchange) -> None:
        behaviours.answer(204)(exchange)
        exchange.wire.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        warned.set()

    warned = threading.Event()
    runtime.script(Endpoint.JOB, answer_and_warn)
    connection = connect()
    poll(connection)
    assert warned.wait(LONG)
    assert poll(connection).status == 204
    assert runtime.ledger.connections == 2


def streamed(*chunks: bytes, failure: Exception | None = None) -> Chunked:
    def produce() -> Iterator[bytes]:
        yield from chunks
        if failure:
            raise failure

    return Chunked(produce())


def test_a_body_may_be_sent_as_it_is_produced(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    assert post(connect(), streamed(b"one", b"t" * 300_000)).status == 204
    (request,) = runtime.posts("j")
    assert (bytes(request.body), request.complete) == (b"one" + b"t" * 300_000, True)
    assert request.head.header("transfer-encoding") == "chunked"
    assert request.head.header("content-length") is None


def test_nothing_produced_is_an_empty_body(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    assert post(connect(), streamed()).status == 204
    assert (runtime.posts("j")[0].size, runtime.posts("j")[0].complete) == (0, True)


def test_a_body_whose_production_fails_is_cut_off_without_its_end(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    connection = connect()
    with pytest.raises(LookupError):
        post(connection, streamed(b"half", failure=LookupError()))
    runtime.ledger.wait_for(lambda: not runtime._wires, what="the end of the connection")
    (request,) = runtime.posts("j")
    assert (request.complete, request.status) == (False, None)
    assert poll(connection).status == 200


def test_a_body_that_can_be_sent_once_only_is_not_sent_again(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = connect()
    poll(connection)
    runtime.script(Endpoint.RESULT, behaviours.reset_before_response)
    failure(lambda: post(connection, streamed(b"one")))
    assert len(runtime.ledger.all(Endpoint.RESULT)) == 1


@pytest.mark.parametrize("sent", [0, 1, 4000])
def test_a_body_that_breaks_off_leaves_what_came(runtime: ScriptedRuntime, connect: Connect, sent: int) -> None:
    whole = bytes(range(250)) * 800
    runtime.script(Endpoint.JOB, behaviours.reset_within_response(whole, sent=sent))
    error = failure(lambda: poll(connect()))
    assert error.partial == whole[:sent]
    assert not error.never_connected


def test_of_a_large_body_that_breaks_off_the_beginning_is_left(runtime: ScriptedRuntime, connect: Connect) -> None:
    whole = bytes(range(250)) * 80_000
    runtime.script(Endpoint.JOB, behaviours.reset_within_response(whole, sent=len(whole) - 1))
    partial = failure(lambda: poll(connect())).partial
    assert partial  # a reset overtakes what is still on its way
    assert whole.startswith(partial)


def test_a_body_that_stops_coming_is_given_up_with_what_came(runtime: ScriptedRuntime, connect: Connect) -> None:
    def stall(exchange: Exchange) -> None:
        exchange.receive()
        exchange.conclude(200)
        exchange.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        exchange.wire.wait_until_gone()
        raise HungUp

    runtime.script(Endpoint.JOB, stall)
    assert failure(lambda: poll(connect(read_timeout=0.3))).partial == b"01234"


def test_no_answer_in_time_is_told_with_the_time(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.JOB, behaviours.hang)
    error = failure(lambda: poll(connect(read_timeout=0.3)))
    assert str(error) == f"https://localhost:{runtime.port}: no answer within 0.3 s"
    runtime.ledger.wait_for(lambda: runtime.ledger.all()[0].gone_at, what="giving up")


def test_what_is_no_http_is_told(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.JOB, behaviours.garbage)
    assert str(failure(lambda: poll(connect()))) == f"https://localhost:{runtime.port}: what came back is not HTTP"


def test_what_is_left_over_from_an_answer_is_not_taken_for_the_next(runtime: ScriptedRuntime, connect: Connect) -> None:
    def answer_twice(exchange: Exchange) -> None:
        exchange.receive()
        exchange.conclude(204)
        exchange.wire.send(b"HTTP/1.1 204 No Content\r\n\r\n" * 2)

    runtime.script(Endpoint.JOB, answer_twice)
    runtime.script(Endpoint.RESULT, behaviours.answer(500))
    connection = connect()
    poll(connection)
    assert post(connection).status == 500


def test_a_refused_connection_is_told_from_a_broken_one(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.go_down()
    error = failure(lambda: poll(connect()))
    assert str(error) == f"https://localhost:{runtime.port}: connection refused"
    assert error.never_connected


def test_a_name_that_nobody_knows_is_told(connect: Connect) -> None:
    error = failure(lambda: poll(connect(host="no-such-host.invalid")))
    assert error.never_connected
    assert "no-such-host.invalid" in str(error)


def test_a_server_that_breaks_off_the_handshake_is_a_failure(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = At("127.0.0.1", server.getsockname()[1], "")
        connection = Connection(at, tls_context(authority.pem.decode()), None)

        def hang_up() -> None:
            server.accept()[0].close()

        with on_a_thread(hang_up):
            assert not failure(lambda: poll(connection)).never_connected


def test_a_handshake_that_hangs_is_given_up(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = At("127.0.0.1", server.getsockname()[1], "")
        connection = Connection(at, tls_context(authority.pem.decode()), None)
        assert "timed out" in str(failure(lambda: poll(connection)))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("other CA", "not signed by the authority in the CA file"),
        ("expired", "has expired"),
        ("other name", "its certificate is not for 'localhost' (tls_server_name"),
    ],
)
def test_nothing_is_sent_to_a_server_that_is_not_to_be_trusted(
    runtime: ScriptedRuntime, connect: Connect, authority: Authority, fault: str, words: str
) -> None:
    shown: dict[str, Callable[[], Any]] = {
        "other CA": lambda: Authority().good(),
        "expired": authority.expired,
        "other name": lambda: authority.named("example.org"),
    }
    runtime.show_certificate(shown[fault]())
    connection = connect()
    error = failure(lambda: post(connection))
    assert error.untrusted
    assert words in str(error)
    assert str(error).endswith("nothing was sent")
    assert runtime.ledger.all() == []
    runtime.show_certificate(authority.good())
    assert poll(connection).status == 204


def test_a_server_without_tls_is_told_and_gets_nothing(authority: Authority) -> None:
    received: list[bytes] = []

    def answer_in_clear() -> None:
        accepted, _ = server.accept()
        received.append(accepted.recv(100_000))
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as server, on_a_thread(answer_in_clear):
        at = At("127.0.0.1", server.getsockname()[1], "")
        error = failure(lambda: post(Connection(at, tls_context(authority.pem.decode()), None)))
    assert error.untrusted
    assert "does not speak TLS" in str(error)
    assert TOKEN.encode() not in received[0]


def test_the_name_to_check_may_be_another_than_the_host(
    runtime: ScriptedRuntime, connect: Connect, authority: Authority
) -> None:
    runtime.show_certificate(authority.named("runtime.example.org"))
    assert poll(connect(server_name="runtime.example.org")).status == 204
    assert "'elsewhere.org'" in str(failure(lambda: poll(connect(server_name="elsewhere.org"))))


def test_an_address_is_checked_like_a_name(runtime: ScriptedRuntime, connect: Connect, authority: Authority) -> None:
    assert poll(connect(host="127.0.0.1")).status == 204
    runtime.show_certificate(authority.named("localhost"))
    assert "'127.0.0.1'" in str(failure(lambda: poll(connect(host="127.0.0.1"))))


Info = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses, in this order."""

    def resolved(_host: object, port: int, *_: object, **__: object) -> list[Info]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def test_ipv4_comes_first_whatever_the_resolver_says(
    runtime: ScriptedRuntime, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    with socket.create_server(("::1", runtime.port), family=socket.AF_INET6) as other:
        resolve_to(monkeypatch, "::1", "127.0.0.1")
        assert poll(connect()).status == 204
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_all_addresses_are_tried(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.2", "::1", "127.0.0.1")
    assert poll(connect()).status == 204


def test_the_last_address_s_fault_is_told(
    runtime: ScriptedRuntime, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.go_down()
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    assert failure(lambda: poll(connect())).never_connected


def test_an_open_poll_can_be_given_up_from_another_thread(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.poll_seconds = 600
    connection = connect()

    def give_up() -> None:
        runtime.wait_for_poll()
        connection.abort()

    with on_a_thread(give_up):
        failure(lambda: poll(connection))
    assert "given up" in str(failure(lambda: poll(connection)))
    assert len(runtime.ledger.all()) == 1


def test_a_large_post_can_be_given_up_from_another_thread(runtime: ScriptedRuntime, connect: Connect) -> None:
    reached = threading.Event()

    def read_nothing(exchange: Exchange) -> None:
        reached.set()
        exchange.stopping.wait()
        raise HungUp

    runtime.script(Endpoint.RESULT, read_nothing)
    connection = connect()

    def give_up() -> None:
        reached.wait(LONG)
        connection.abort()

    with on_a_thread(give_up):
        failure(lambda: post(connection, Zeros(64 << 20)))


def test_nothing_is_asked_after_giving_up(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = connect()
    poll(connection)
    connection.abort()
    connection.abort()
    assert "given up" in str(failure(lambda: poll(connection)))
    assert len(runtime.ledger.all()) == 1


def test_giving_up_while_the_name_is_looked_up_sends_nothing(
    runtime: ScriptedRuntime, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, look_up = connect(), socket.getaddrinfo

    def give_up(*arguments: Any, **options: Any) -> Any:
        connection.abort()
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", give_up)
    assert "given up" in str(failure(lambda: poll(connection)))
    assert runtime.ledger.all() == []


def test_giving_up_within_a_handshake_ends_it(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = At("127.0.0.1", server.getsockname()[1], "")
        connection = Connection(at, tls_context(authority.pem.decode()), None)

        def give_up() -> None:
            accepted, _ = server.accept()
            accepted.recv(1)
            connection.abort()
            accepted.recv(100_000)
            accepted.close()

        with on_a_thread(give_up):
            failure(lambda: poll(connection))
