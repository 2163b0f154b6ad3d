"""Authenticated requests: token, trust and kept-alive connections, read again while the worker runs."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from cm_exec.errors import NoRuntimeError
from cm_exec.runtime.endpoints import RuntimeEndpoints
from cm_exec.runtime.retry import RequestError, RetryLimits
from cm_exec.runtime.session import RuntimeSession
from tests.support import responses
from tests.support.asyncio_tests import eventually
from tests.support.certificates import Authority
from tests.support.replica import Replica
from tests.support.request_log import Endpoint
from tests.support.scripted_runtime import API, ScriptedRuntime

LONG = 30.0
NewSession = Callable[..., RuntimeSession]


@pytest.fixture(autouse=True)
def quick_polls(runtime: ScriptedRuntime) -> None:
    runtime.poll_seconds = 0.01


async def poll(session: RuntimeSession, endpoints: RuntimeEndpoints, seconds: float = LONG) -> int:
    return (await session.request("GET", endpoints.job, seconds=seconds)).status


async def post(session: RuntimeSession, endpoints: RuntimeEndpoints, body: bytes = b"x") -> int:
    response = await session.request(
        "POST", endpoints.result, path="/j", body=body, content_type="text/plain", seconds=LONG
    )
    return response.status


async def test_every_request_carries_the_token(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints
) -> None:
    assert await poll(session, endpoints) == 204
    await post(session, endpoints)
    polled, posted = runtime.request_log.all()
    assert polled.head.header("module-auth-token") == posted.head.header("module-auth-token") == runtime.token
    assert (polled.head.header("content-type"), posted.head.header("content-type")) == (None, "text/plain")
    assert posted.head.target == f"{API}/results/j"
    assert runtime.request_log.connections == 1


async def test_concurrent_requests(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints
) -> None:
    """Concurrent requests have a connection each, and both connections are kept."""
    runtime.poll_seconds = 0.3
    for _ in range(3):
        polling = asyncio.create_task(poll(session, endpoints))
        await asyncio.sleep(0.1)
        await post(session, endpoints)
        assert await polling == 204
    assert runtime.request_log.connections == 2


async def test_a_rotated_token_is_used_after_a_reload(
    runtime: ScriptedRuntime,
    session: RuntimeSession,
    endpoints: RuntimeEndpoints,
    replica: Replica,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime.rotate_token("next")
    assert await poll(session, endpoints) == 401
    session.reload()
    assert "token" not in caplog.text
    replica.write_token("next")
    session.reload()
    assert await poll(session, endpoints) == 204
    assert "the token has changed" in caplog.text
    assert "next" not in caplog.text


async def test_a_new_authority_is_read_by_itself(
    runtime: ScriptedRuntime,
    session: RuntimeSession,
    endpoints: RuntimeEndpoints,
    replica: Replica,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await poll(session, endpoints) == 204
    other = Authority()
    runtime.show_certificate(other.good())
    runtime._shut_connections()
    replica.ca_file.write_bytes(other.pem)
    with pytest.raises(RequestError) as caught:
        await poll(session, endpoints)
    assert caught.value.untrusted
    assert await poll(session, endpoints) == 204
    assert "the CA file has changed" in caplog.text


async def test_connection_of_the_old_authority(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints, replica: Replica
) -> None:
    """A connection of the old authority is not used again."""
    runtime.poll_seconds = 0.3
    polling = asyncio.create_task(poll(session, endpoints))
    await asyncio.sleep(0.1)
    await post(session, endpoints)
    replica.ca_file.write_bytes(Authority().pem)
    session.reload()
    assert await polling == 204, "a request in progress is not disturbed"
    for _ in range(2):
        with pytest.raises(RequestError) as caught:
            await poll(session, endpoints)
        assert caught.value.untrusted
    assert len(runtime.request_log.all()) == 2


@pytest.mark.parametrize("damage", ["token gone", "CA gone", "CA cut", "CA unusable"])
async def test_failed_reload(
    session: RuntimeSession,
    endpoints: RuntimeEndpoints,
    replica: Replica,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A token or CA that cannot be read again stays unchanged."""
    if damage == "token gone":
        replica.token_file.unlink()
    elif damage == "CA gone":
        replica.ca_file.unlink()
    elif damage == "CA cut":
        replica.ca_file.write_bytes(replica.ca_pem[:100])
    else:
        replica.ca_file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    session.reload()
    assert "cannot be read again" in caplog.text
    assert await poll(session, endpoints) == 204


def test_an_unusable_ca_is_reported_at_once(replica: Replica, endpoints: RuntimeEndpoints) -> None:
    with pytest.raises(NoRuntimeError):
        RuntimeSession(replica.modern(), replace(endpoints, ca_pem="no certificate"), None, RetryLimits())


async def test_connection_per_origin(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints
) -> None:
    """Each origin has its own connection."""
    await poll(session, endpoints)
    by_address = replace(endpoints.job, host="127.0.0.1")
    assert (await session.request("GET", by_address, seconds=LONG)).status == 204
    await poll(session, endpoints)
    assert [r.connection for r in runtime.request_log.all()] == [1, 2, 1]
    session.close()
    await eventually(lambda: not runtime._wires, what="the end of the connections")


async def test_closing_ends_open_requests(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints
) -> None:
    runtime.poll_seconds = 600
    polling = asyncio.create_task(poll(session, endpoints))
    await eventually(runtime.request_log.open_polls, what="the poll")
    session.close()
    with pytest.raises(RequestError, match="closed"):
        await polling


async def test_deadline(runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints) -> None:
    """Each request has its own deadline."""
    runtime.script(Endpoint.JOB, responses.hang)
    with pytest.raises(RequestError, match=r"within 0\.2 s") as caught:
        await poll(session, endpoints, 0.2)
    assert caught.value.timed_out
    assert await poll(session, endpoints) == 204


@pytest.mark.parametrize("announced", [True, False])
async def test_closed_idle_connection(
    runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints, announced: bool
) -> None:
    """A kept-alive connection that the server closed is replaced silently."""
    runtime.script(Endpoint.JOB, responses.then_close(responses.answer(204), announced=announced))
    await poll(session, endpoints)
    await eventually(lambda: not runtime._wires, what="the end of the connection")
    assert await poll(session, endpoints) == 204
    assert runtime.request_log.connections == 2
    assert len(runtime.request_log.all()) == 2


async def test_single_retry(runtime: ScriptedRuntime, session: RuntimeSession, endpoints: RuntimeEndpoints) -> None:
    """A request on a kept-alive connection is retried once only."""
    await poll(session, endpoints)
    runtime.always(Endpoint.JOB, responses.reset_before_response)
    with pytest.raises(RequestError, match="closed without a response"):
        await poll(session, endpoints)
    assert len(runtime.request_log.all()) == 3


async def test_server_name(
    runtime: ScriptedRuntime, new_session: NewSession, endpoints: RuntimeEndpoints, authority: Authority
) -> None:
    """The name in the certificate may differ from the host."""
    runtime.show_certificate(authority.named("runtime.example.org"))
    assert await poll(new_session(server_name="runtime.example.org"), endpoints) == 204
    with pytest.raises(RequestError, match=r"elsewhere\.org"):
        await poll(new_session(server_name="elsewhere.org"), endpoints)
