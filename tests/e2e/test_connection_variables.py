"""The platform's variables: forms of URIs that are accepted, and what of them reaches handlers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.replica import Replica, without
from tests.support.scripted_runtime import API, ScriptedRuntime
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]
ECHO = function("f", ["cat"])

CA_PATHS = ("DEFAULT_CA_PATH", "CONNECTIONS_TO_OTHER_PODS_CA_PATH")


def test_slash_at_the_end_of_the_result_uri(harness: WorkerHarness) -> None:
    """A slash at the end of POST_RESULT_URI is not doubled."""
    environment = harness.environment()
    environment["POST_RESULT_URI"] += "/"
    harness.start(ECHO, environment=environment)
    job = harness.runtime.submit("f", b"1")
    assert harness.runtime.result(job).head.target == f"{API}/results/{job}"


@pytest.fixture
def plain(harness: WorkerHarness) -> Iterator[WorkerHarness]:
    """Start a runtime that speaks HTTP without TLS, as emulators do."""
    with ScriptedRuntime(None) as runtime:
        replica = Replica(folder=harness.replica.folder, runtime=runtime, ca_pem=b"")
        other = WorkerHarness(folder=harness.folder, runtime=runtime, replica=replica)
        yield other
        other.finish()


def plain_environment(harness: WorkerHarness, host: str) -> dict[str, str]:
    origin = f"http://{host}:{harness.runtime.port}{API}"
    connection = {
        "GET_JOB_URI": f"{origin}/job",
        "POST_RESULT_URI": f"{origin}/results",
        "POST_SCHEMA_URI": f"{origin}/schemas",
        "RESTART_NOTIFICATION_URI": f"{origin}/restart-notify",
        "MODULE_AUTH_TOKEN": str(harness.replica.token_file),
    }
    return harness.environment(connection)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_http_on_loopback(plain: WorkerHarness, host: str) -> None:
    """`http://` is accepted for loopback addresses, and needs no CA."""
    plain.start(ECHO, environment=plain_environment(plain, host))
    assert plain.runtime.call("f", b"1") == b"1"


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "runtime.example", "localhost.example", "127.0.0.1.example", "[2001:db8::1]"]
)
def test_http_elsewhere(plain: WorkerHarness, host: str) -> None:
    """`http://` on any other host is refused before anything is sent, with the variable's name."""
    worker = plain.launch(ECHO, environment=plain_environment(plain, host))
    assert worker.wait() == 4
    assert "GET_JOB_URI" in worker.log
    assert "https" in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("variable", ["POST_RESULT_URI", "POST_SCHEMA_URI", "RESTART_NOTIFICATION_URI"])
def test_http_elsewhere_in_one_variable(plain: WorkerHarness, variable: str) -> None:
    """Each URI is held to the rule."""
    environment = plain_environment(plain, "127.0.0.1")
    environment[variable] = environment[variable].replace("127.0.0.1", "192.0.2.1")
    worker = plain.launch(ECHO, environment=environment)
    assert worker.wait() == 4
    assert variable in worker.log


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_ca_paths_reach_handlers(harness: WorkerHarness, mode: str) -> None:
    """A handler finds the CA files that Foundry's recipes name, and none of the other connection variables."""
    environment = {**harness.environment(), CA_PATHS[1]: "/certificates/ca.pem"}
    harness.start(function("f", 'printf "%s %s" "$DEFAULT_CA_PATH" "$CONNECTIONS_TO_OTHER_PODS_CA_PATH"', mode=mode),
                environment=environment)  # fmt: skip
    assert harness.runtime.call("f").decode() == f"{harness.replica.ca_file} /certificates/ca.pem"


def test_ca_paths_reach_persistent_handlers(harness: WorkerHarness) -> None:
    """So does a persistent one."""
    harness.start(function("f", LOOP, mode="persistent"))
    assert harness.runtime.call("f", b'["env", "DEFAULT_CA_PATH"]').strip() == f'"{harness.replica.ca_file}"'.encode()
    assert harness.runtime.call("f", b'["env", "GET_JOB_URI"]').strip() == b"null"


def test_ca_paths_in_inherit_env(harness: WorkerHarness) -> None:
    """`inherit_env` may name them, and leaves them out where it does not."""
    show = 'printf "%s" "$DEFAULT_CA_PATH"'
    harness.start(
        function("f", show, inherit_env=["PATH", "DEFAULT_CA_PATH"]) + function("g", show, inherit_env=["PATH"])
    )
    assert harness.runtime.call("f").decode() == str(harness.replica.ca_file)
    assert harness.runtime.call("g") == b""


def test_no_token_reaches_handlers(harness: WorkerHarness) -> None:
    """The token, its file and the runtime's addresses stay hidden."""
    harness.start(function("f", ["cat", "/proc/self/environ"]))
    seen = harness.runtime.call("f").decode()
    for name in without(harness.replica.modern(), "DEFAULT_CA_PATH", "COMPUTE_SESSION_ID"):
        assert f"{name}=" not in seen
