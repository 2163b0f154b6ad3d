"""The runtime as the worker knows it: the start, the poll and the report."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from cm_exec.runtime.location import Location
from msgspec.structs import replace
from tests.support.pauses import Pauses, give_up

from cm_exec.runtime import client as client_module
from cm_exec.runtime.client import RuntimeClient
from cm_exec.runtime.reporter import Delivery
from tests.support import behaviours
from tests.support.certificates import Authority
from tests.support.ledger import Endpoint
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime

SCHEMAS = b'[{"functionName":"f"}]'


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cm_exec")


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(replica: Replica, location: Location) -> Iterator[RuntimeClient]:
    client = RuntimeClient(replica.modern(), location, None)
    yield client
    client.close()


def seen(runtime: ScriptedRuntime) -> list[Endpoint]:
    return [request.endpoint for request in runtime.ledger.all()]


def test_the_functions_are_published_the_restart_is_told_and_then_polled_on_the_same_connection(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    client.announce(SCHEMAS, pauses)
    schema, restart = runtime.ledger.all()
    assert (schema.endpoint, bytes(schema.body)) == (Endpoint.SCHEMA, SCHEMAS)
    assert (restart.endpoint, bytes(restart.body)) == (Endpoint.RESTART, b"")
    assert schema.head.header("content-type") == "application/json"
    assert restart.head.header("content-type") is None
    assert restart.head.header("content-length") == "0"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    runtime.submit("f", b"1")
    poller, _ = client.poller(pauses)
    assert poller.poll().body
    assert {request.connection for request in runtime.ledger.all()} == {schema.connection}
    client.close()
    runtime.ledger.wait_for(lambda: not runtime._wires, what="the end of the connection")


def test_what_the_runtime_does_not_have_is_not_asked_for(
    runtime: ScriptedRuntime, replica: Replica, location: Location, pauses: Pauses
) -> None:
    client = RuntimeClient(replica.modern(), replace(location, schema=None, restart=None), None)
    client.announce(SCHEMAS, pauses)
    assert runtime.ledger.all() == []


def test_a_runtime_that_does_not_run_yet_is_waited_for(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses
) -> None:
    runtime.go_down()
    pauses.then(runtime.come_back, at=12)
    client.announce(SCHEMAS, pauses)
    assert seen(runtime) == [Endpoint.SCHEMA, Endpoint.RESTART]
    assert len(pauses.seconds) == 12
    pauses.assert_backs_off()


def test_a_runtime_that_is_not_trusted_yet_is_waited_for(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses, replica: Replica
) -> None:
    other = Authority()
    runtime.show_certificate(other.good())
    pauses.then(lambda: not replica.ca_file.write_bytes(other.pem), at=5)
    client.announce(SCHEMAS, pauses)
    assert seen(runtime) == [Endpoint.SCHEMA, Endpoint.RESTART]


@pytest.mark.parametrize("status", [404, 413, 429, 500, 503])
def test_a_runtime_that_refuses_these_is_not_asked_again(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    for endpoint in (Endpoint.SCHEMA, Endpoint.RESTART):
        runtime.always(endpoint, behaviours.answer(status))
    client.announce(SCHEMAS, pauses)
    assert seen(runtime) == [Endpoint.SCHEMA, Endpoint.RESTART]
    assert pauses.seconds == []
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"publishing the functions failed: the runtime answers {status}; going on without",
        f"the restart notification failed: the runtime answers {status}; going on without",
    ]


@pytest.mark.parametrize("behaviour", [behaviours.garbage, behaviours.reset_before_response])
def test_a_runtime_that_breaks_at_these_is_tried_three_times(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses, behaviour: behaviours.Behaviour
) -> None:
    runtime.always(Endpoint.SCHEMA, behaviour)
    client.announce(SCHEMAS, pauses)
    assert seen(runtime) == [Endpoint.SCHEMA] * 3 + [Endpoint.RESTART]
    assert len(pauses.seconds) == 2
    pauses.assert_backs_off()


def test_a_runtime_that_hangs_at_these_holds_nobody_up_for_long(
    runtime: ScriptedRuntime,
    replica: Replica,
    location: Location,
    pauses: Pauses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "START_TIMEOUT", 0.2)
    runtime.always(Endpoint.SCHEMA, behaviours.hang)
    with closing(RuntimeClient(replica.modern(), location, None)) as client:
        client.announce(SCHEMAS, pauses)
    assert seen(runtime) == [Endpoint.SCHEMA] * 3 + [Endpoint.RESTART]


def test_a_rotated_token_is_read_again(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses, replica: Replica
) -> None:
    runtime.rotate_token("next")
    replica.write_token("next")
    client.announce(SCHEMAS, pauses)
    assert [r.status for r in runtime.ledger.all()] == [401, 204, 200]


def test_a_token_that_is_never_accepted_is_tried_three_times(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses
) -> None:
    runtime.rotate_token("another")
    client.announce(SCHEMAS, pauses)
    assert [r.status for r in runtime.ledger.all()] == [401] * 6


def test_an_end_in_a_pause_ends_the_start(runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses) -> None:
    runtime.go_down()
    pauses.then(give_up).then(give_up, at=2)
    client.announce(SCHEMAS, pauses)
    assert len(pauses.seconds) <= 2


def test_an_end_while_the_runtime_hangs_ends_the_start(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses
) -> None:
    runtime.always(Endpoint.SCHEMA, behaviours.hang)

    def end() -> None:
        runtime.ledger.wait_for(lambda: runtime.ledger.all(Endpoint.SCHEMA), what="the first post")
        client.abandon_start()

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    client.announce(SCHEMAS, pauses)
    thread.join()
    assert seen(runtime) == [Endpoint.SCHEMA]


@pytest.fixture
def answered(
    runtime: ScriptedRuntime, client: RuntimeClient, caplog: pytest.LogCaptureFixture
) -> Callable[[bytes], list[str]]:
    def answered(body: bytes) -> list[str]:
        """The warnings after this answer to the restart notification."""
        caplog.clear()
        runtime.script(Endpoint.RESTART, behaviours.answer(200, body))
        client.announce(SCHEMAS, Pauses())
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    return answered


def test_dropped_jobs_are_told(answered: Callable[[bytes], list[str]]) -> None:
    assert answered(b'["a","b"]') == ["the runtime has dropped 2 jobs of this container's previous run"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b"[1]", b"<html>", b'["\xff"]', b"[" * 5000])
def test_any_other_answer_to_the_restart_is_passed_over(answered: Callable[[bytes], list[str]], body: bytes) -> None:
    assert answered(body) == []


def test_polls_and_results_have_connections_of_their_own(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses
) -> None:
    runtime.submit("f", b"1", job_id="j")
    poller, link = client.poller(pauses)
    reporter = client.reporter(pauses)
    assert poller.poll().body
    assert reporter.deliver("j", b"r").delivery is Delivery.ACCEPTED
    polled, posted = runtime.ledger.all()
    assert polled.connection != posted.connection
    link.abort()
    reporter.abort()
    link.close()
    reporter._link.close()


def test_giving_up_the_poll_does_not_touch_results(
    runtime: ScriptedRuntime, client: RuntimeClient, pauses: Pauses
) -> None:
    runtime.submit("f", job_id="j")
    _, link = client.poller(pauses)
    link.abort()
    reporter = client.reporter(pauses)
    assert reporter.deliver("j", b"r").delivery is Delivery.ACCEPTED
    reporter._link.close()
