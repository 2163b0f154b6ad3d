"""The restart notification is retried while the runtime is not there yet, and is never fatal."""

import pytest

from tests.support import behaviours
from tests.support.bench import Bench
from tests.support.ledger import Endpoint
from tests.support.toml import function

ECHO = function("f", ["cat"])

NOT_YET: dict[str, behaviours.Behaviour] = {
    "reset": behaviours.reset_before_response,
    "reset within the response": behaviours.reset_within_response(b"[]", sent=1),
    "408": behaviours.answer(408),
    "429": behaviours.answer(429, b"slow down", [("Retry-After", "1")]),
    "502": behaviours.answer(502, b"<html>bad gateway</html>"),
    "503": behaviours.answer(503),
    "504": behaviours.answer(504),
}


def restarts_before_polls(bench: Bench) -> list[int | None]:
    """Return the statuses of all notifications, none of which may follow the first poll."""
    endpoints = [r.endpoint for r in bench.runtime.ledger.all()]
    assert Endpoint.RESTART not in endpoints[endpoints.index(Endpoint.JOB) :]
    return [r.status for r in bench.runtime.ledger.all(Endpoint.RESTART)]


@pytest.mark.parametrize("name", NOT_YET)
def test_retried(bench: Bench, name: str) -> None:
    """A runtime that is not ready yet gets the notification once it is."""
    bench.runtime.script(Endpoint.RESTART, *[NOT_YET[name]] * 3)
    bench.start(ECHO)
    statuses = restarts_before_polls(bench)
    assert len(statuses) == 4
    assert statuses[-1] == 200
    assert bench.runtime.call("f", b"[1]") == b"[1]"


def test_retried_after_all_kinds_of_failure(bench: Bench) -> None:
    """Different failures one after another change nothing."""
    bench.runtime.script(Endpoint.RESTART, behaviours.reset_before_response, *(NOT_YET[n] for n in ("503", "429")))
    bench.start(ECHO)
    assert restarts_before_polls(bench)[-1] == 200


def test_retried_after_a_timeout(bench: Bench) -> None:
    """A runtime that does not respond is asked again."""
    bench.runtime.script(Endpoint.RESTART, behaviours.hang)
    bench.launch(ECHO)
    bench.runtime.wait_for_poll(seconds=120)
    assert restarts_before_polls(bench)[-1] == 200


@pytest.mark.parametrize("status", [400, 404, 405, 500])
def test_given_up(bench: Bench, status: int) -> None:
    """Any other failure ends the notification, and the worker polls."""
    bench.runtime.always(Endpoint.RESTART, behaviours.answer(status, b"no"))
    bench.start(ECHO)
    assert restarts_before_polls(bench) == [status]
    assert bench.runtime.call("f", b"[1]") == b"[1]"


@pytest.mark.parametrize("name", ["reset", "503"])
def test_never_fatal(bench: Bench, name: str) -> None:
    """A notification that never succeeds does not keep the worker from polling."""
    bench.runtime.always(Endpoint.RESTART, NOT_YET[name])
    bench.launch(ECHO)
    bench.runtime.wait_for_poll(seconds=150)
    assert bench.runtime.call("f", b"[1]") == b"[1]"
    assert len(restarts_before_polls(bench)) > 1
