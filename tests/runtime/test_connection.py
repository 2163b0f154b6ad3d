"""One connection with a real server over real TLS: kept alive, broken anywhere, or not to be trusted."""

import asyncio
import gc
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from cm_exec.runtime.connection import Connection, StreamingBody
from cm_exec.runtime.endpoints import Endpoint as At
from cm_exec.runtime.endpoints import tls_context
from cm_exec.runtime.http import Response, request_head
from cm_exec.runtime.retry import RequestError
from cm_exec.runtime.session import open_connection
from tests.support import responses, stalls
from tests.support.asyncio_tests import eventually
from tests.support.certificates import Authority
from tests.support.raw_http import HungUp
from tests.support.request_log import Endpoint
from tests.support.responses import Behaviour, RequestContext
from tests.support.scripted_runtime import API, TOKEN, ScriptedRuntime
from tests.support.slow_proxy import SlowProxy

JOB, RESULT = f"{API}/job", f"{API}/results/j"
LONG = 30.0
Connect = Callable[..., Coroutine[None, None, Connection]]


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
    connections: list[Connection] = []

    async def connect(
        *, host: str = "localhost", port: int = 0, server_name: str = "", seconds: float = LONG
    ) -> Connection:
        tls = tls_context(authority.pem.decode())
        at = At(host, port or runtime.port, "")
        connections.append(await open_connection(at, tls, server_name or host, seconds))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


async def poll(connection: Connection, seconds: float = LONG) -> Response:
    return await connection.request(request_head("GET", JOB, (("Module-Auth-Token", TOKEN),)), None, seconds)


async def post(connection: Connection, body: Any = b"result", seconds: float = LONG) -> Response:
    length = ("Transfer-Encoding", "chunked")
    if not isinstance(body, StreamingBody):
        length = ("Content-Length", str(len(body) if isinstance(body, bytes) else body.size))
    head = request_head("POST", RESULT, (("Module-Auth-Token", TOKEN), length))
    return await connection.request(head, body, seconds)


async def failure(request: Coroutine[None, None, object]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await request
    return caught.value


@contextmanager
def on_a_thread(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` meanwhile; it must come to an end by itself."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(LONG)
    assert not thread.is_alive()


async def test_requests_share_one_connection(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = await connect()
    runtime.submit("f", b"[1]", job_id="j")
    assert bytes((await poll(connection)).body).endswith(b'"query":[1]}}')
    assert (await post(connection)).status == 204
    assert [(await poll(connection)).status for _ in range(3)] == [204] * 3
    assert runtime.request_log.connections == 1
    assert connection.is_reusable()


async def test_an_empty_result_has_a_length_too(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    assert (await post(await connect(), b"")).status == 204
    assert runtime.posts("j")[0].head.header("content-length") == "0"


MIB = 1 << 20


@pytest.mark.parametrize("size", [1, 8 * 1024, 8 * 1024 + 1, MIB - 300, MIB, MIB + 1, 4 * MIB, 20_000_000])
async def test_a_body_of_any_size_arrives_whole(runtime: ScriptedRuntime, connect: Connect, size: int) -> None:
    runtime.submit("f", job_id="j")
    connection = await connect()
    assert (await post(connection, bytes(size))).status == 204
    assert (await post(connection, Zeros(size))).status == 204
    assert [(p.size, p.complete) for p in runtime.posts("j")] == [(size, True)] * 2
    assert runtime.posts("j")[0].sha256 == runtime.posts("j")[1].sha256


@pytest.mark.parametrize("size", [MIB - 16 * 1024, MIB, 2 * MIB])
async def test_response_to_a_whole_request(runtime: ScriptedRuntime, connect: Connect, size: int) -> None:
    """A response that arrives while the loop is busy after the last byte is a success: no result is posted twice."""
    runtime.submit("f", job_id="j")
    for body in (bytes(size), Zeros(size)):
        connection = await connect()
        posting = asyncio.create_task(post(connection, body))
        before = len(runtime.posts("j"))
        while not posting.done():
            await asyncio.sleep(0)
            time.sleep(0.05)
        assert posting.result().status == 204
        assert len(runtime.posts("j")) == before + 1


async def test_closed_new_connection(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A new connection that the server closes is a failure."""
    runtime.always(Endpoint.JOB, responses.reset_before_response)
    connection = await connect()
    error = await failure(poll(connection))
    assert "closed without a response" in str(error)
    assert (error.never_connected, error.untrusted, error.partial) == (False, False, b"")
    assert not connection.is_open


async def test_after_a_failure_the_connection_is_closed(runtime: ScriptedRuntime, connect: Connect) -> None:
    connection = await connect()
    runtime.script(Endpoint.JOB, responses.garbage)
    await failure(poll(connection))
    assert not connection.is_open
    assert not connection.is_reusable()


def close_early(context: RequestContext) -> None:
    """Refuse after the first byte and close without reading the rest, as most servers do."""
    context.receive(1)
    context.respond(413, b"too large", [("Connection", "close")])
    raise HungUp


def reset_early(context: RequestContext) -> None:
    """Do the same with a reset."""
    context.receive(1)
    context.respond(413, b"too large", [("Connection", "close")])
    context.wire.reset()
    raise HungUp


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65536)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "behaviour",
    [responses.answer_early(413), stalls.answer_without_reading(413), close_early],
    ids=["reads on", "stops reading", "closes"],
)
@pytest.mark.parametrize("kind", ["bytes", "spooled", "streamed"])
async def test_early_rejection(runtime: ScriptedRuntime, connect: Connect, behaviour: Behaviour, kind: str) -> None:
    """A rejection during a request is noticed at once, and the connection is not used again."""
    runtime.script(Endpoint.RESULT, behaviour)
    connection = await connect()
    bodies: dict[str, Any] = {
        "bytes": bytes(64 * MIB),
        "spooled": Zeros(64 * MIB),
        "streamed": StreamingBody(_endless()),
    }
    assert (await post(connection, bodies[kind])).status == 413
    assert not connection.is_open


async def test_rejection_with_a_reset(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A rejection that a reset overtakes is a broken connection, and never a success."""
    runtime.script(Endpoint.RESULT, reset_early)
    connection = await connect()
    try:
        assert (await post(connection, bytes(64 * MIB))).status == 413
    except RequestError:
        assert len(runtime.request_log.all()) == 1
    assert not connection.is_open


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("streamed", [False, True])
async def test_early_success(runtime: ScriptedRuntime, connect: Connect, status: int, streamed: bool) -> None:
    """A success before the whole result was sent is a failure."""
    runtime.script(Endpoint.RESULT, stalls.answer_without_reading(status))
    connection = await connect()
    body: Any = StreamingBody(_endless()) if streamed else Zeros(64 * MIB)
    assert f"answered {status} before all was sent" in str(await failure(post(connection, body)))
    assert not connection.is_open


async def test_a_server_that_stops_reading_is_given_up(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.RESULT, responses.stop_reading(1))
    error = await failure(post(await connect(), Zeros(64 * MIB), 0.5))
    assert "no complete response within 0.5 s" in str(error)
    assert error.timed_out


@pytest.mark.parametrize("size", [1, 1000])
async def test_small_pieces(runtime: ScriptedRuntime, connect: Connect, size: int) -> None:
    """Bytes may be transferred in the smallest pieces."""
    query = b'"%s"' % (b"q" * (100 * size))
    runtime.submit("f", query, job_id="j")
    with SlowProxy(runtime.port, size=size) as proxy:
        connection = await connect(port=proxy.port)
        assert bytes((await poll(connection)).body).endswith(query + b"}}")
        assert (await post(connection, bytes(300 * size))).status == 204
        assert (await poll(connection)).status == 204
        connection.close()
    assert runtime.posts("j")[0].size == 300 * size
    assert runtime.request_log.connections == 1


async def test_unexpected_bytes(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A connection with unexpected bytes, such as the 408 that some servers send, is not used again."""

    def answer_and_warn(context: RequestContext) -> None:
        responses.answer(204)(context)
        context.wire.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        warned.set()

    warned = threading.Event()
    runtime.script(Endpoint.JOB, answer_and_warn)
    connection = await connect()
    assert (await poll(connection)).status == 204
    assert warned.wait(LONG)
    deadline = time.monotonic() + LONG
    while connection.is_reusable() and time.monotonic() < deadline:
        time.sleep(0.001)  # holds the loop: the bytes may still be on their way
    assert not connection.is_reusable()
    await eventually(lambda: not connection.is_open, what="the end of the connection")


async def test_a_body_is_not_kept_after_it_is_sent(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    body = bytes(10_000_000)
    references = sys.getrefcount(body)
    connection = await connect()
    assert (await post(connection, body)).status == 204
    assert connection.is_open
    assert sys.getrefcount(body) == references


async def test_a_body_is_not_kept_after_a_failure(runtime: ScriptedRuntime, connect: Connect) -> None:
    """Not even until the next garbage collection."""
    runtime.script(Endpoint.RESULT, responses.reset_within_response(b"x" * 100, sent=1))
    body = bytes(10_000_000)
    references = sys.getrefcount(body)
    connection = await connect()
    gc.disable()
    try:
        with suppress(RequestError):  # pytest.raises would keep it
            await post(connection, body)
        await asyncio.sleep(0)  # until the loop has forgotten it too
        assert not connection.is_open
        assert sys.getrefcount(body) == references
    finally:
        gc.enable()


async def test_bytes_after_a_response(runtime: ScriptedRuntime, connect: Connect) -> None:
    """The bytes after a response are not the next response."""

    def answer_twice(context: RequestContext) -> None:
        context.receive()
        context.conclude(204)
        context.wire.send(b"HTTP/1.1 204 No Content\r\n\r\n" * 2)

    runtime.script(Endpoint.JOB, answer_twice)
    connection = await connect()
    await poll(connection)
    assert not connection.is_reusable()


@pytest.mark.parametrize("reset", [True, False])
async def test_request_on_a_closed_connection(reset: bool) -> None:
    """A reset proves that nothing was sent; after an orderly close the kernel takes the bytes and nothing is proved."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        client.setblocking(False)
        connection = Connection(client, "server")
        assert connection.is_reusable(checked=True)
        peer, _ = server.accept()
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        deadline = time.monotonic() + LONG
        while connection.is_reusable(checked=True) and time.monotonic() < deadline:
            time.sleep(0.001)  # holds the loop
        error = await failure(connection.request(b"GET / HTTP/1.1\r\n\r\n", None, LONG))
        assert error.never_sent is reset


def streamed(*chunks: bytes, failure: Exception | None = None) -> StreamingBody:
    async def produce() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        if failure:
            raise failure

    return StreamingBody(produce())


async def test_a_body_may_be_sent_as_it_is_produced(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    connection = await connect()
    assert (await post(connection, streamed(b"one", b"t" * 300_000))).status == 204
    (request,) = runtime.posts("j")
    assert (bytes(request.body), request.complete) == (b"one" + b"t" * 300_000, True)
    assert connection.is_reusable()


async def test_chunks(runtime: ScriptedRuntime, connect: Connect) -> None:
    """Each chunk is sent before the next one is produced."""
    runtime.submit("f", job_id="j")

    async def produce() -> AsyncIterator[bytes]:
        for size in range(1, 4):
            yield b"x"
            await eventually(lambda size=size: sum(p.size for p in runtime.posts("j")) == size, what="the chunk")  # type: ignore[misc]

    assert (await post(await connect(), StreamingBody(produce()))).status == 204


async def test_nothing_produced_is_an_empty_body(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.submit("f", job_id="j")
    assert (await post(await connect(), streamed())).status == 204
    assert (runtime.posts("j")[0].size, runtime.posts("j")[0].complete) == (0, True)


async def test_failed_body(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A body whose production fails is truncated."""
    runtime.submit("f", job_id="j")
    connection = await connect()
    with pytest.raises(LookupError):
        await post(connection, streamed(b"half", failure=LookupError()))
    assert not connection.is_open
    await eventually(lambda: not runtime._wires, what="the end of the connection")
    (request,) = runtime.posts("j")
    assert (request.complete, request.status) == (False, None)


@pytest.mark.parametrize("sent", [0, 1, 4000])
async def test_a_body_that_breaks_off_leaves_what_came(runtime: ScriptedRuntime, connect: Connect, sent: int) -> None:
    whole = bytes(range(250)) * 800
    runtime.script(Endpoint.JOB, responses.reset_within_response(whole, sent=sent))
    error = await failure(poll(await connect()))
    assert error.partial == whole[:sent]
    assert not error.never_connected


async def test_large_truncated_body(runtime: ScriptedRuntime, connect: Connect) -> None:
    """The beginning of a large truncated body is kept."""
    whole = bytes(range(250)) * 80_000
    runtime.script(Endpoint.JOB, responses.reset_within_response(whole, sent=len(whole) - 1))
    partial = (await failure(poll(await connect()))).partial
    assert partial  # a reset overtakes what is still on its way
    assert whole.startswith(partial)


async def test_a_large_response_is_read_whole(runtime: ScriptedRuntime, connect: Connect) -> None:
    whole = bytes(range(250)) * 80_000
    runtime.script(Endpoint.JOB, responses.answer(200, whole))
    assert (await poll(await connect())).body == whole


async def test_stalled_body(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A stalled body times out, and its beginning is kept."""

    def stall(context: RequestContext) -> None:
        context.receive()
        context.conclude(200)
        context.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        context.wire.wait_until_gone()
        raise HungUp

    runtime.script(Endpoint.JOB, stall)
    assert (await failure(poll(await connect(), 0.3))).partial == b"01234"


async def test_timeout(runtime: ScriptedRuntime, connect: Connect) -> None:
    """The error for a missing response says how long the request waited."""
    runtime.script(Endpoint.JOB, responses.hang)
    error = await failure(poll(await connect(), 0.3))
    assert str(error) == f"https://localhost:{runtime.port}: no complete response within 0.3 s"
    await eventually(lambda: runtime.request_log.all()[0].gone_at, what="giving up")


@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n"], ids=["102", "100"]
)
async def test_interim_responses(runtime: ScriptedRuntime, connect: Connect, part: bytes) -> None:
    """Interim responses do not prolong a request."""
    runtime.script(Endpoint.JOB, stalls.repeat_for_ever(part, every=0.05))
    assert (await failure(poll(await connect(), 0.4))).timed_out


async def test_what_is_not_http_is_reported(runtime: ScriptedRuntime, connect: Connect) -> None:
    runtime.script(Endpoint.JOB, responses.garbage)
    error = await failure(poll(await connect()))
    assert str(error) == f"https://localhost:{runtime.port}: the response is not HTTP"


async def test_cancelled_request(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A cancelled request closes its connection."""
    runtime.script(Endpoint.JOB, responses.hang)
    connection = await connect()
    polling = asyncio.create_task(poll(connection))
    await eventually(runtime.request_log.open_polls, what="the poll")
    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling
    assert not connection.is_open
    await eventually(lambda: runtime.request_log.all()[0].gone_at, what="giving up")


async def test_refused_connection(runtime: ScriptedRuntime, connect: Connect) -> None:
    """A refused connection is distinguished from a broken one."""
    runtime.go_down()
    error = await failure(connect())
    assert str(error) == f"https://localhost:{runtime.port}: cannot connect: connection refused"
    assert error.never_connected


async def test_an_unknown_name_is_reported(connect: Connect) -> None:
    error = await failure(connect(host="no-such-host.invalid"))
    assert error.never_connected
    assert "no-such-host.invalid" in str(error)


async def test_broken_handshake(connect: Connect) -> None:
    """A broken handshake is a failure."""
    with socket.create_server(("127.0.0.1", 0)) as server, on_a_thread(lambda: server.accept()[0].close()):  # noqa: PLW0108
        await failure(connect(port=server.getsockname()[1]))


async def test_a_handshake_that_hangs_is_given_up(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        error = await failure(connect(port=server.getsockname()[1], seconds=0.3))
        assert "timed out" in str(error)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("other CA", "not signed by the authority in the CA file"),
        ("expired", "has expired"),
        ("other name", "its certificate is not for 'localhost' (tls_server_name"),
    ],
)
async def test_untrusted_server(
    runtime: ScriptedRuntime, connect: Connect, authority: Authority, fault: str, words: str
) -> None:
    """A server that is not trusted gets no request."""
    shown: dict[str, Callable[[], Any]] = {
        "other CA": lambda: Authority().good(),
        "expired": authority.expired,
        "other name": lambda: authority.named("example.org"),
    }
    runtime.show_certificate(shown[fault]())
    error = await failure(connect())
    assert error.untrusted
    assert words in str(error)
    assert str(error).endswith("nothing was sent")
    assert runtime.request_log.all() == []
    runtime.show_certificate(authority.good())
    assert (await poll(await connect())).status == 204


async def test_server_without_tls(connect: Connect) -> None:
    """A server without TLS is reported, and gets no request."""
    received: list[bytes] = []

    def answer_in_clear() -> None:
        accepted, _ = server.accept()
        received.append(accepted.recv(100_000))
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as server, on_a_thread(answer_in_clear):
        error = await failure(connect(port=server.getsockname()[1]))
    assert error.untrusted
    assert "does not speak TLS" in str(error)
    assert TOKEN.encode() not in received[0]


async def test_an_address_is_checked_like_a_name(
    runtime: ScriptedRuntime, connect: Connect, authority: Authority
) -> None:
    assert (await poll(await connect(host="127.0.0.1"))).status == 204
    runtime.show_certificate(authority.named("localhost"))
    assert "'127.0.0.1'" in str(await failure(connect(host="127.0.0.1")))


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


async def test_ipv4_first(runtime: ScriptedRuntime, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv4 addresses come first in any order of the resolver."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    with socket.create_server(("::1", runtime.port), family=socket.AF_INET6) as other:
        resolve_to(monkeypatch, "::1", "127.0.0.1")
        assert (await poll(await connect())).status == 204
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


async def test_all_addresses_are_tried(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.2", "::1", "127.0.0.1")
    assert (await poll(await connect())).status == 204


async def test_failure_of_the_last_address(
    runtime: ScriptedRuntime, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure of the last address is reported."""
    runtime.go_down()
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    assert (await failure(connect())).never_connected


async def test_plain_http_works_the_same(authority: Authority) -> None:
    del authority
    with ScriptedRuntime(None) as plain:
        plain.poll_seconds = 0.01
        at = At("127.0.0.1", plain.port, "", is_secure=False)
        connection = await open_connection(at, tls_context(""), "", LONG)
        plain.submit("f", b"[1]", job_id="j")
        assert (await poll(connection)).status == 200
        assert (await post(connection, bytes(3 * MIB))).status == 204
        connection.close()
