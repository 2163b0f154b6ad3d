"""The restart notification is retried while the runtime is not there yet, and is never fatal."""

import pytest

from tests.support import responses
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("f", ["cat"])

NOT_YET: dict[str, responses.Behaviour] = {
    "reset": responses.reset_before_response,
    "reset within the response": responses.reset_within_response(b"[]", sent=1),
    "408": responses.answer(408),
    "429": responses.answer(429, b"slow down", [("Retry-After", "1")]),
    "502": responses.answer(502, b"<html>bad gateway</html>"),
    "503": responses.answer(503),
    "504": responses.answer(504),
}


def restarts_before_polls(harness: WorkerHarness) -> list[int | None]:
    """Return the statuses of all notifications, none of which may follow the first poll."""
    endpoints = [r.endpoint for r in harness.runtime.request_log.all()]
    assert Endpoint.RESTART not in endpoints[endpoints.index(Endpoint.JOB) :]
    return [r.status for r in harness.runtime.request_log.all(Endpoint.RESTART)]


@pytest.mark.parametrize("name", NOT_YET)
def test_retried(harness: WorkerHarness, name: str) -> None:
    """A runtime that is not ready yet gets the notification once it is."""
    harness.runtime.script(Endpoint.RESTART, *[NOT_YET[name]] * 3)
    harness.start(ECHO)
    statuses = restarts_before_polls(harness)
    assert len(statuses) == 4
    assert statuses[-1] == 200
    assert harness.runtime.call("f", b"[1]") == b"[1]"


def test_retried_after_all_kinds_of_failure(harness: WorkerHarness) -> None:
    """Different failures one after another change nothing."""
    harness.runtime.script(Endpoint.RESTART, responses.reset_before_response, *(NOT_YET[n] for n in ("503", "429")))
    harness.start(ECHO)
    assert restarts_before_polls(harness)[-1] == 200


def test_retried_after_a_timeout(harness: WorkerHarness) -> None:
    """A runtime that does not respond is asked again."""
    harness.runtime.script(Endpoint.RESTART, responses.hang)
    harness.launch(ECHO)
    harness.runtime.wait_for_poll(seconds=120)
    assert restarts_before_polls(harness)[-1] == 200


@pytest.mark.parametrize("status", [400, 404, 405, 500])
def test_given_up(harness: WorkerHarness, status: int) -> None:
    """Any other failure ends the notification, and the worker polls."""
    harness.runtime.always(Endpoint.RESTART, responses.answer(status, b"no"))
    harness.start(ECHO)
    assert restarts_before_polls(harness) == [status]
    assert harness.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.long
@pytest.mark.parametrize("name", ["reset", "503"])
def test_never_fatal(harness: WorkerHarness, name: str) -> None:
    """A notification that never succeeds does not keep the worker from polling."""
    harness.runtime.always(Endpoint.RESTART, NOT_YET[name])
    harness.launch(ECHO)
    harness.runtime.wait_for_poll(seconds=150)
    assert harness.runtime.call("f", b"[1]") == b"[1]"
    assert len(restarts_before_polls(harness)) > 1
