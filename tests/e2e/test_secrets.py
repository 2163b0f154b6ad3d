import json
import re

import pytest

from tests.support import responses
from tests.support.request_log import Endpoint
from tests.support.toml import function, table
from tests.support.worker_harness import WorkerHarness

AUTH = "Bearer-secret-of-the-caller"
TEMPORARY = "secret-temporary-credentials"
QUERY = "secret-in-the-query"
RESULT = "secret-in-the-result"
SECRETS = (AUTH, TEMPORARY, QUERY, "token-of-the-module", "rotated-token-of-the-module")
MEMBERS = {"authHeader": AUTH, "temporaryCredentialsAuthToken": TEMPORARY, "userId": "user-1"}

ENVIRON = "cat /proc/self/environ"


def environment_of(output: bytes) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in output.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("log_format", ["text", "sls"])
def test_no_secret_in_log_or_error(harness: WorkerHarness, log_format: str) -> None:
    """No secret is in the log or in an error."""
    result = f"printf {RESULT}"
    config = (
        function("good", result)
        + function("quiet", "printf 'a result that only its caller sees'")
        + function("fails", f"{result}; exit 1", credentials=True)
        + function("slow", f"{result}; sleep 300", timeout=1)
        + function("json", result, output="json")
        + function("large", f"{result}{RESULT}", max_output=10)
        + function("lost", ["/no/such/program"], credentials=True)
        + table("launcher", log_format=log_format, log_level="debug")
    )
    worker = harness.start(config)
    harness.runtime.script(Endpoint.RESULT, responses.answer(500), responses.answer(401), responses.answer(413))
    functions = ["good", "good", "fails", "slow", "json", "large", "lost", "unknown"]
    query = json.dumps({"q": QUERY}).encode()
    jobs = [harness.runtime.submit(name, query, members=MEMBERS) for name in functions]
    harness.runtime.submit_raw("m", b'{"computeModuleJobV1":{"jobId":"m","authHeader":"%s"}}' % AUTH.encode())
    harness.runtime.submit_raw("n", b'{"jobId":"n","queryType":"good","query":["%s",nope]}' % QUERY.encode())
    for job in [*jobs, "m", "n"]:
        body = harness.runtime.result(job).body.decode()
        assert body == RESULT or not any(secret in body for secret in SECRETS)
    harness.runtime.rotate_token("rotated-token-of-the-module")
    harness.replica.write_token("rotated-token-of-the-module")
    assert harness.runtime.call("good") == RESULT.encode()
    assert harness.runtime.call("quiet") == b"a result that only its caller sees"
    assert worker.stop() == 0
    assert [secret for secret in SECRETS if secret in worker.log] == []
    assert "only its caller" not in worker.log


def test_connection_variables(harness: WorkerHarness) -> None:
    """A handler gets nothing of the connection to the runtime."""
    extra = {
        "GET_JOB_URI_V2": "http://127.0.0.1:8946/job",
        "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(harness.replica.ca_file),
        "RUNTIME_API": "localhost:8945",
        "CONNECTION_TO_RUNTIME": str(harness.replica.connection_file),
    }
    harness.start(function("f", ENVIRON), environment={**extra, **harness.environment()})
    seen = environment_of(harness.runtime.call("f"))
    public = {"COMPUTE_SESSION_ID", "DEFAULT_CA_PATH", "CONNECTIONS_TO_OTHER_PODS_CA_PATH"}
    hidden = {*harness.replica.modern(), *extra} - public
    assert hidden & set(seen) == set()
    assert seen["DEFAULT_CA_PATH"] == str(harness.replica.ca_file)  # for calls to Foundry
    assert [n for n, value in seen.items() if re.search(rf"token-of-the-module|:{harness.runtime.port}\b", value)] == []
    assert public <= set(seen)
    assert seen["COMPUTE_SESSION_ID"] == "ses-of-the-replica"


def test_credentials(harness: WorkerHarness) -> None:
    """Credentials reach only the handlers that request them."""
    harness.start(function("trusted", ENVIRON, credentials=True) + function("other", ENVIRON))
    trusted, other = (harness.runtime.submit(name, members=MEMBERS) for name in ("trusted", "other"))
    seen = environment_of(bytes(harness.runtime.result(trusted).body))
    assert (seen["CM_AUTH_HEADER"], seen["CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN"]) == (AUTH, TEMPORARY)
    output = harness.runtime.result(other).body
    assert AUTH.encode() not in output
    assert TEMPORARY.encode() not in output


@pytest.mark.parametrize("log_format", ["text", "sls"])
def test_printed_credentials(harness: WorkerHarness, log_format: str) -> None:
    """Credentials that a handler prints reach neither the log nor an error."""
    prints = 'echo "I was given $CM_AUTH_HEADER and $CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN" >&2; exit 1'
    worker = harness.start(function("f", prints, credentials=True), "--log-format", log_format)
    body = harness.runtime.result(harness.runtime.submit("f", members=MEMBERS)).body.decode()
    worker.wait_for_log("I was given")
    worker.stop()
    assert "I was given" in body
    assert [secret for secret in SECRETS if secret in worker.log + body] == []


def test_missing_credentials(harness: WorkerHarness) -> None:
    """Credentials that a job does not have are not set."""
    harness.start(function("f", ENVIRON, credentials=True))
    seen = environment_of(harness.runtime.call("f"))
    assert {"CM_AUTH_HEADER", "CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN", "CM_USER_ID"} & set(seen) == set()


def test_secrets_are_on_no_command_line(harness: WorkerHarness) -> None:
    command_lines = "cat /proc/[0-9]*/cmdline 2>/dev/null || true"
    harness.start(function("f", command_lines, credentials=True))
    job = harness.runtime.submit("f", json.dumps(QUERY).encode(), members=MEMBERS)
    output = harness.runtime.result(job).body.decode(errors="replace")
    assert "cm-exec" in output
    assert [secret for secret in (AUTH, TEMPORARY, QUERY, harness.runtime.token) if secret in output] == []
