"""One thread's way to the runtime: token, trust and connections, renewed while it works."""

import logging
import threading
from collections.abc import Callable

import pytest
from cm_exec.runtime.link import Access, Link
from cm_exec.runtime.location import Endpoint as At
from cm_exec.runtime.location import Location

from cm_exec.runtime.errors import ExchangeError, NoRuntimeError
from tests.support import behaviours
from tests.support.certificates import Authority
from tests.support.ledger import Endpoint
from tests.support.replica import Replica
from tests.support.scripted_runtime import API, ScriptedRuntime


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cm_exec")


@pytest.fixture(autouse=True)
def quick_polls(runtime: ScriptedRuntime) -> None:
    runtime.poll_seconds = 0.01


def poll(link: Link, location: Location) -> int:
    return link.request("GET", location.job).status


def test_every_request_carries_the_token(runtime: ScriptedRuntime, link: Link, location: Location) -> None:
    assert poll(link, location) == 204
    link.request("POST", location.result, path="/j", body=b"x", content_type="text/plain")
    polled, posted = runtime.ledger.all()
    assert polled.head.header("module-auth-token") == posted.head.header("module-auth-token") == runtime.token
    assert (polled.head.header("content-type"), posted.head.header("content-type")) == (None, "text/plain")
    assert posted.head.target == f"{API}/results/j"
    assert runtime.ledger.connections == 1


def test_a_rotated_token_is_taken_on_after_renewing(
    runtime: ScriptedRuntime, link: Link, location: Location, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.rotate_token("next")
    assert poll(link, location) == 401
    link.renew()
    assert "token" not in caplog.text
    replica.write_token("next")
    link.renew()
    assert poll(link, location) == 204
    assert "the token has changed" in caplog.text
    assert "next" not in caplog.text


def test_one_thread_s_renewal_serves_all(
    runtime: ScriptedRuntime, new_link: Callable[..., Link], location: Location, replica: Replica
) -> None:
    one, other = new_link(), new_link()
    runtime.rotate_token("next")
    replica.write_token("next")
    one.renew()
    assert poll(other, location) == 204


def test_a_new_authority_is_taken_on_by_itself(
    runtime: ScriptedRuntime, link: Link, location: Location, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    assert poll(link, location) == 204
    other = Authority()
    runtime.show_certificate(other.good())
    runtime._shut_connections()
    replica.ca_file.write_bytes(other.pem)
    with pytest.raises(ExchangeError) as caught:
        poll(link, location)
    assert caught.value.untrusted
    assert poll(link, location) == 204
    assert "the CA file has changed" in caplog.text


def test_a_connection_of_the_old_authority_is_not_kept(
    runtime: ScriptedRuntime, link: Link, location: Location, replica: Replica
) -> None:
    poll(link, location)
    replica.ca_file.write_bytes(Authority().pem)
    link.renew()
    with pytest.raises(ExchangeError) as caught:
        poll(link, location)
    assert caught.value.untrusted
    assert len(runtime.ledger.all()) == 1


@pytest.mark.parametrize("damage", ["token gone", "CA gone", "CA cut", "CA unusable"])
def test_what_cannot_be_read_again_stays_as_it_was(
    link: Link, location: Location, replica: Replica, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    if damage == "token gone":
        replica.token_file.unlink()
    elif damage == "CA gone":
        replica.ca_file.unlink()
    elif damage == "CA cut":
        replica.ca_file.write_bytes(replica.ca_pem[:100])
    else:
        replica.ca_file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    link.renew()
    assert "cannot be read again" in caplog.text
    assert poll(link, location) == 204


def test_a_location_whose_ca_is_unusable_is_told_at_once(replica: Replica, location: Location) -> None:
    broken = Location(
        job=location.job, result=location.result, schema=None, restart=None, token="t", ca_pem="no certificate"
    )
    with pytest.raises(NoRuntimeError):
        Access(replica.modern(), broken)


def test_each_origin_has_a_connection_of_its_own(runtime: ScriptedRuntime, link: Link, location: Location) -> None:
    poll(link, location)
    by_address = At("127.0.0.1", runtime.port, location.job.path)
    assert link.request("GET", by_address).status == 204
    poll(link, location)
    assert [r.connection for r in runtime.ledger.all()] == [1, 2, 1]
    link.close()
    runtime.ledger.wait_for(lambda: not runtime._wires, what="the end of the connections")


def test_a_link_that_was_closed_opens_again(runtime: ScriptedRuntime, link: Link, location: Location) -> None:
    poll(link, location)
    link.close()
    assert poll(link, location) == 204
    assert runtime.ledger.connections == 2


def test_giving_up_ends_the_open_request_and_all_later_ones(
    runtime: ScriptedRuntime, link: Link, location: Location
) -> None:
    runtime.poll_seconds = 600

    def give_up() -> None:
        runtime.wait_for_poll()
        link.abort()

    thread = threading.Thread(target=give_up, daemon=True)
    thread.start()
    with pytest.raises(ExchangeError):
        poll(link, location)
    thread.join()
    for endpoint in (location.job, At("127.0.0.1", runtime.port, "/")):
        with pytest.raises(ExchangeError, match="given up"):
            link.request("GET", endpoint)
    assert len(runtime.ledger.all()) == 1


def test_the_read_timeout_is_the_link_s(
    runtime: ScriptedRuntime, new_link: Callable[..., Link], location: Location
) -> None:
    runtime.script(Endpoint.JOB, behaviours.hang)
    with pytest.raises(ExchangeError, match=r"within 0\.2 s"):
        poll(new_link(read_timeout=0.2), location)
