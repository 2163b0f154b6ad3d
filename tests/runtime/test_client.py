"""The start: the functions are published and the restart is notified, before the first poll."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest
from msgspec.structs import replace

from cm_exec.runtime.client import RuntimeClient
from cm_exec.runtime.endpoints import RuntimeEndpoints
from cm_exec.runtime.retry import RetryLimits, Verdict
from tests.support import responses, stalls
from tests.support.asyncio_tests import eventually
from tests.support.certificates import Authority
from tests.support.replica import Replica
from tests.support.request_log import Endpoint
from tests.support.scripted_runtime import ScriptedRuntime

SCHEMAS = b'[{"functionName":"f"}]'
LIMITS = RetryLimits(first_delay=0.02, longest_delay=0.1, schema_patience=0.5, restart_patience=0.5, start_post=5)

NewClient = Callable[..., RuntimeClient]


@pytest.fixture
def new_client(replica: Replica, endpoints: RuntimeEndpoints) -> Iterator[NewClient]:
    clients: list[RuntimeClient] = []

    def new_client(limits: RetryLimits = LIMITS, **changes: None) -> RuntimeClient:
        clients.append(RuntimeClient(replica.modern(), replace(endpoints, **changes), None, limits))
        return clients[-1]

    yield new_client
    for client in clients:
        client.close()


@pytest.fixture
def client(new_client: NewClient) -> RuntimeClient:
    return new_client()


def seen(runtime: ScriptedRuntime) -> list[Endpoint]:
    return [request.endpoint for request in runtime.request_log.all()]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_connection_of_the_registration(
    runtime: ScriptedRuntime, client: RuntimeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The registration and the first poll use one connection."""
    await client.register(SCHEMAS)
    schema, restart = runtime.request_log.all()
    assert (schema.endpoint, bytes(schema.body)) == (Endpoint.SCHEMA, SCHEMAS)
    assert (restart.endpoint, bytes(restart.body)) == (Endpoint.RESTART, b"")
    assert schema.head.header("content-type") == "application/json"
    assert restart.head.header("content-type") is None
    assert restart.head.header("content-length") == "0"
    assert warnings(caplog) == []
    runtime.submit("f", b"1")
    assert (await client.poller.poll()).body
    assert {request.connection for request in runtime.request_log.all()} == {schema.connection}
    client.close()
    await eventually(lambda: not runtime._wires, what="the end of the connection")


async def test_missing_endpoints(runtime: ScriptedRuntime, new_client: NewClient) -> None:
    """An endpoint that the runtime does not have gets no request."""
    await new_client(schema=None, restart=None).register(SCHEMAS)
    assert runtime.request_log.all() == []


async def test_runtime_that_is_down(runtime: ScriptedRuntime, client: RuntimeClient) -> None:
    """The registration waits as long as the runtime is down: without it no poll would succeed either."""
    runtime.go_down()
    registering = asyncio.create_task(client.register(SCHEMAS))
    await asyncio.sleep(1.2)  # more than the patience
    assert not registering.done()
    runtime.come_back()
    await registering
    assert seen(runtime) == [Endpoint.SCHEMA, Endpoint.RESTART]


async def test_runtime_that_is_not_trusted(runtime: ScriptedRuntime, client: RuntimeClient, replica: Replica) -> None:
    """The registration waits for a runtime that is not trusted yet."""
    other = Authority()
    runtime.show_certificate(other.good())
    registering = asyncio.create_task(client.register(SCHEMAS))
    await asyncio.sleep(0.7)
    assert not registering.done()
    assert runtime.request_log.all() == []
    replica.ca_file.write_bytes(other.pem)
    await registering
    assert seen(runtime) == [Endpoint.SCHEMA, Endpoint.RESTART]


@pytest.mark.parametrize("status", [400, 404, 413, 422, 500, 501])
async def test_rejected_registration(
    runtime: ScriptedRuntime, client: RuntimeClient, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A rejected registration is not retried."""
    for endpoint in (Endpoint.SCHEMA, Endpoint.RESTART):
        runtime.always(endpoint, responses.answer(status))
    await client.register(SCHEMAS)
    assert seen(runtime) == [Endpoint.SCHEMA, Endpoint.RESTART]
    assert warnings(caplog) == [
        f"publishing the functions failed: the runtime answers {status}; continuing without it",
        f"the restart notification failed: the runtime answers {status}; continuing without it",
    ]


NOT_READY = {
    **{str(status): responses.answer(status) for status in (408, 429, 502, 503, 504)},
    "reset": responses.reset_before_response,
    "reset within the response": responses.reset_within_response(b"[]", sent=1),
    "garbage": responses.garbage,
}


@pytest.mark.parametrize("name", NOT_READY)
@pytest.mark.parametrize("endpoint", [Endpoint.SCHEMA, Endpoint.RESTART])
async def test_retry_of_the_registration(
    runtime: ScriptedRuntime, new_client: NewClient, name: str, endpoint: Endpoint
) -> None:
    """The registration is retried while the runtime is not ready."""
    client = new_client(RetryLimits(first_delay=0.01, longest_delay=0.02, schema_patience=60, restart_patience=60))
    runtime.script(endpoint, *[NOT_READY[name]] * 5)
    await client.register(SCHEMAS)
    requests = runtime.request_log.all(endpoint)
    assert len(requests) == 6
    assert requests[-1].accepted


@pytest.mark.parametrize("name", ["503", "reset"])
async def test_runtime_that_is_not_ready(
    runtime: ScriptedRuntime, client: RuntimeClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The registration continues without a runtime that is not ready in time."""
    for endpoint in (Endpoint.SCHEMA, Endpoint.RESTART):
        runtime.always(endpoint, NOT_READY[name])
    started = time.monotonic()
    await client.register(SCHEMAS)
    assert time.monotonic() - started >= 1.0
    assert len(seen(runtime)) > 4
    assert [line for line in warnings(caplog) if "continuing without it" in line][1].startswith("the restart")


async def test_runtime_that_hangs(runtime: ScriptedRuntime, new_client: NewClient) -> None:
    """A runtime that hangs delays the registration for a limited time only."""
    client = new_client(RetryLimits(start_post=0.2, schema_patience=0.3, first_delay=0.01, longest_delay=0.02))
    runtime.always(Endpoint.SCHEMA, responses.hang)
    await client.register(SCHEMAS)
    assert seen(runtime)[:2] == [Endpoint.SCHEMA] * 2
    assert seen(runtime)[-1] == Endpoint.RESTART


async def test_interim_responses(runtime: ScriptedRuntime, new_client: NewClient) -> None:
    """Interim responses do not prolong a request of the registration."""
    client = new_client(RetryLimits(start_post=0.3, schema_patience=0, first_delay=0.01, longest_delay=0.02))
    runtime.always(Endpoint.SCHEMA, stalls.repeat_for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=0.05))
    await client.register(SCHEMAS)
    assert seen(runtime)[-1] == Endpoint.RESTART


async def test_a_rotated_token_is_read_again(runtime: ScriptedRuntime, client: RuntimeClient, replica: Replica) -> None:
    runtime.rotate_token("next")
    replica.write_token("next")
    await client.register(SCHEMAS)
    assert [r.status for r in runtime.request_log.all()] == [401, 204, 200]


async def test_rejected_token(runtime: ScriptedRuntime, client: RuntimeClient) -> None:
    """The registration retries a rejected token for a limited time only."""
    runtime.rotate_token("another")
    await client.register(SCHEMAS)
    assert {r.status for r in runtime.request_log.all()} == {401}
    assert seen(runtime)[-1] == Endpoint.RESTART


async def test_cancelled_registration(runtime: ScriptedRuntime, client: RuntimeClient) -> None:
    """A registration can be cancelled while the runtime hangs."""
    runtime.always(Endpoint.SCHEMA, responses.hang)
    registering = asyncio.create_task(client.register(SCHEMAS))
    await eventually(lambda: seen(runtime), what="the first post")
    registering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await registering
    assert seen(runtime) == [Endpoint.SCHEMA]


Answered = Callable[[bytes], Coroutine[None, None, list[str]]]


@pytest.fixture
def answered(runtime: ScriptedRuntime, client: RuntimeClient, caplog: pytest.LogCaptureFixture) -> Answered:
    async def answered(body: bytes) -> list[str]:
        """Return the warnings after this response to the restart notification."""
        caplog.clear()
        runtime.script(Endpoint.RESTART, responses.answer(200, body))
        await client.register(SCHEMAS)
        return warnings(caplog)

    return answered


async def test_dropped_jobs_are_logged(answered: Answered) -> None:
    assert await answered(b'["a","b"]') == ["the runtime has dropped 2 jobs of this container's previous run"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b"[1]", b"<html>", b'["\xff"]', b"[" * 5000])
async def test_other_responses_to_the_restart(answered: Answered, body: bytes) -> None:
    """Any other response to the restart notification is ignored."""
    assert await answered(body) == []


async def test_failing_result(runtime: ScriptedRuntime, new_client: NewClient) -> None:
    """A failing result is retried as long as polls fail too, and rejected after a while if polls succeed."""
    client = new_client(RetryLimits(first_delay=0.02, longest_delay=0.05, rejected_result=0.3))
    runtime.always(Endpoint.RESULT, responses.answer(500))
    runtime.always(Endpoint.JOB, responses.answer(503))
    await client.poller.poll()
    delivering = asyncio.create_task(client.reporter.deliver("j", b"r"))
    await asyncio.sleep(1.0)
    assert not delivering.done()
    runtime.always(Endpoint.JOB, responses.normal)
    runtime.poll_seconds = 0.05
    await client.poller.poll()
    assert (await delivering).verdict is Verdict.REFUSED
