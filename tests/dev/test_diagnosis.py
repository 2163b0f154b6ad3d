"""The runtime explains the first mistakes of a new client to the client and to its author."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core.worker_status import ViolationKind
from tests.support.local_runtime import ManualWorker
from tests.support.processes import wait_until

ROOT = "/interactive-module/api/internal-query"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path / "runtime", poll_wait=0.1) as running:
        yield running


def reported(runtime: LocalRuntime, kind: ViolationKind, words: str) -> None:
    """Wait until the runtime has reported this protocol violation."""

    def found() -> bool:
        return any(each.kind is kind and words in each.message for each in runtime.violations)

    wait_until(found, what=f"{words!r} among {[each.message for each in runtime.violations]}")


def ask(runtime: LocalRuntime, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=str(runtime.files.ca_file))
    with contextlib.closing(http.client.HTTPSConnection("localhost", runtime.port, context=context)) as connection:
        connection.request(method, path, b"", headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, "is no request of the protocol"),
        ("GET", "/results/x", 404, f"did you mean POST {ROOT}/results/JOB_ID?"),
        ("PUT", "/x", 404, "is no request of the protocol"),
        ("GET", "/api/v1/getJob", 404, f"did you mean GET {ROOT}/job?"),
        ("POST", "/api/v1/postResult/abc", 404, f"did you mean POST {ROOT}/results/JOB_ID?"),
        ("POST", "/schema", 404, f"did you mean POST {ROOT}/schemas?"),
        ("POST", f"{ROOT}/restart", 404, f"did you mean POST {ROOT}/restart-notify?"),
        ("POST", f"{ROOT}/job", 405, "the method must be GET"),
        ("GET", f"{ROOT}/schemas", 405, "the method must be POST"),
        ("GET", f"{ROOT}/job/", 404, "leave out the slash at the end"),
        ("POST", f"{ROOT}/results/", 404, "the job's id is missing"),
        ("POST", f"{ROOT}/results", 404, "the job's id is missing; send POST"),
        ("PUT", f"{ROOT}/results/abc", 405, "the method must be POST"),
        ("POST", f"{ROOT}/results//abc", 404, "a double slash stands before the job's id"),
        ("POST", f"{ROOT}/results/abc/", 404, "a slash stands after the job's id"),
        ("POST", f"{ROOT}/results/undefined", 404, "'undefined' stands where the job's id belongs"),
    ],
)
def test_wrong_path(runtime: LocalRuntime, method: str, path: str, status: int, words: str) -> None:
    """A wrong path or method gets an error that names the mistake."""
    found, sentence = ask(runtime, method, path, {"Module-Auth-Token": runtime.token})
    assert found == status
    assert words in sentence
    reported(runtime, ViolationKind.CONNECTION, words)


@pytest.mark.parametrize(
    ("header", "value", "words"),
    [
        (None, "", "no token: send the content of the file"),
        ("Module-Auth-Token", "", "no token: send the content of the file"),
        ("Authorization", "{token}", "the token came as Authorization"),
        ("Module-Auth-Token", "{path}", "holds the path of the token's file"),
        ("Module-Auth-Token", "/opt/module-auth-token/MODULE_AUTH_TOKEN", "holds the path of the token's file"),
        ("Module-Auth-Token", "Bearer {token}", "send the token alone"),
        ("Module-Auth-Token", "{earlier}", "holds an earlier token"),
        ("Module-Auth-Token", "guess", "holds a wrong token"),
    ],
)
def test_wrong_token(runtime: LocalRuntime, header: str | None, value: str, words: str) -> None:
    """A wrong token gets 401 and the probable mistake."""
    earlier = runtime.token
    runtime.rotate_token()
    text = value.format(token=runtime.token, path=runtime.files.token_file, earlier=earlier)
    status, sentence = ask(runtime, "GET", f"{ROOT}/job", {header: text} if header else {})
    assert status == 401
    assert words in sentence
    assert runtime.token not in sentence
    reported(runtime, ViolationKind.UNAUTHORIZED, words)


def test_plain_http(runtime: LocalRuntime) -> None:
    """A plain HTTP request to the TLS port gets the advice to use https://."""
    with contextlib.closing(http.client.HTTPConnection("localhost", runtime.port)) as connection:
        connection.request("GET", f"{ROOT}/job")
        response = connection.getresponse()
        assert response.status == 400
        assert "use https://" in json.loads(response.read())["error"]
    reported(runtime, ViolationKind.CONNECTION, "plain HTTP on the TLS port")


@pytest.mark.parametrize("request_", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nModule-Auth-Token: a\n b\r\n\r\n"])
def test_invalid_http(runtime: LocalRuntime, request_: bytes) -> None:
    """A request that is not HTTP gets an explanation."""
    context = ssl.create_default_context(cafile=str(runtime.files.ca_file))
    with (
        socket.create_connection(("localhost", runtime.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(request_)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"not valid HTTP/1.1: it is HTTP/2, for instance, or has a line break in a header")
    reported(runtime, ViolationKind.CONNECTION, "not valid HTTP/1.1")
    assert len(runtime.violations) == 1


def test_untrusted_ca(runtime: LocalRuntime) -> None:
    """A client that does not trust the CA is reported."""
    with socket.create_connection(("localhost", runtime.port)) as raw, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")
    reported(runtime, ViolationKind.CONNECTION, "the client does not trust the runtime's certificate")
    reported(runtime, ViolationKind.CONNECTION, "UNKNOWN_CA")


def test_client_without_a_request(runtime: LocalRuntime) -> None:
    """A client that leaves after the handshake is reported: Node does so when it does not trust the CA."""
    context = ssl.create_default_context(cafile=str(runtime.files.ca_file))
    with socket.create_connection(("localhost", runtime.port)) as raw:
        context.wrap_socket(raw, server_hostname="localhost").close()
    reported(runtime, ViolationKind.CONNECTION, "left without a request")


def test_second_client_without_a_request(tmp_path: Path) -> None:
    """The runtime reports a client that leaves after the handshake, although another client has polled."""
    with LocalRuntime(tmp_path, poll_wait=0.1, poll_timeout=0.2) as runtime:
        with ManualWorker(runtime) as worker:
            worker.poll()
        threading.Event().wait(0.4)  # longer than a worker may be silent
        test_client_without_a_request(runtime)


def test_wrong_host_name(runtime: LocalRuntime) -> None:
    """A client that leaves because the name in the certificate is another one is reported."""
    context = ssl.create_default_context(cafile=str(runtime.files.ca_file))
    context.check_hostname = False
    with (
        socket.create_connection(("localhost", runtime.port)) as raw,
        context.wrap_socket(raw, server_hostname="runtime.example"),
    ):
        pass
    reported(runtime, ViolationKind.CONNECTION, "connected to 'runtime.example' and left: the certificate does not")


def test_old_tls(runtime: LocalRuntime) -> None:
    """A client with an old version of TLS is reported."""
    with socket.create_connection(("localhost", runtime.port)) as raw:
        raw.sendall(bytes.fromhex("16030100050100000100"))  # an invalid ClientHello
        raw.recv(100)
    reported(runtime, ViolationKind.CONNECTION, "the TLS handshake failed")


def test_repeated_mistake(runtime: LocalRuntime) -> None:
    """A repeated mistake is reported once."""
    for _ in range(20):
        ask(runtime, "GET", f"{ROOT}/job", {})
    assert len(runtime.violations) == 1


def test_correct_worker(runtime: LocalRuntime) -> None:
    """A worker without mistakes gets no report."""
    with ManualWorker(runtime) as worker:
        worker.poll()
    with ManualWorker(runtime) as worker:
        worker.connection.connect()
    assert runtime.violations == []


# The plain API


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[LocalRuntime]:
    with LocalRuntime(tmp_path / "runtime", poll_wait=0.1, plain_port=0) as running:
        yield running


def plainly(url: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    address = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port)) as connection:
        connection.request(method, address.path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()


def test_plain_api(plain: LocalRuntime) -> None:
    """The plain API serves a job without an envelope and a token."""
    variables = plain.environment()
    assert plainly(variables["GET_JOB_URI_V2"]) == (204, b"")
    call = plain.submit("add", b"[1]", user_id="ada")
    status, body = plainly(variables["GET_JOB_URI_V2"])
    assert (status, json.loads(body)) == (
        200,
        {"jobId": call.job_id, "queryType": "add", "query": [1], "userId": "ada"},
    )
    octets = {"Content_Type": "application/octet-stream"}
    result = f"{variables['POST_RESULT_URI_V2']}/{call.job_id}"
    assert plainly(result, "POST", b"3", **octets)[0] == 202
    assert call.wait(10).body == b"3"
    assert plainly(variables["POST_SCHEMA_URI_V2"], "POST", b"[]", Content_Type="application/json")[0] == 202
    assert plain.violations == []


def test_fixed_paths_of_the_plain_api(plain: LocalRuntime) -> None:
    """The plain API has the fixed paths of the Java SDKs: `/job` needs the token, `/restart-notify` does not."""
    root = f"http://127.0.0.1:{plain.files.plain_port}"
    assert plainly(f"{root}/job")[0] == 401
    assert plainly(f"{root}/job", Module_Auth_Token=plain.token)[0] == 204
    assert plainly(f"{root}/restart-notify", "POST") == (200, b"[]")


def test_offer_of_http_2(plain: LocalRuntime) -> None:
    """The offer of HTTP/2 that Java and `curl --http2` make changes nothing."""
    variables = plain.environment()
    call = plain.submit("add", b"1")
    address = urlsplit(variables["GET_JOB_URI_V2"])
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAB"}
    result = urlsplit(f"{variables['POST_RESULT_URI_V2']}/{call.job_id}").path
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port)) as connection:
        for method, path, body, status in (
            ("GET", address.path, b"", 200),
            ("POST", result, b'"\r\nUpgrade: h2c\r\n\r\n"', 202),
            ("GET", address.path, b"", 204),
        ):
            connection.request(method, path, body, {"Content-Type": "application/octet-stream", **offer})
            response = connection.getresponse()
            response.read()
            assert response.status == status
    assert call.wait(10).body == b'"\r\nUpgrade: h2c\r\n\r\n"'
    assert plain.violations == []


def test_secret_of_the_plain_api(plain: LocalRuntime) -> None:
    """No response of the plain API has its secret, since other accounts of the machine reach the port."""
    root = f"http://127.0.0.1:{plain.files.plain_port}"
    secret = urlsplit(plain.environment()["GET_JOB_URI_V2"]).path.split("/")[1]
    for path in ("/", "/getJob", "/job/", "/results/x", "/schemas", f"/{'0' * 32}/job"):
        status, body = plainly(f"{root}{path}")
        assert status in {401, 404, 405}
        assert secret.encode() not in body
    assert b"read GET_JOB_URI_V2 and the others again" in plainly(f"{root}/{'0' * 32}/job")[1]
    assert b"did you mean GET /job?" in plainly(f"{root}/getJob")[1]
    assert f"did you mean GET /{secret}/job?".encode() in plainly(f"{root}/{secret}/getJob")[1]


def test_tls_on_the_plain_port(plain: LocalRuntime) -> None:
    """A TLS handshake with the plain port fails, and is reported."""
    context = ssl.create_default_context(cafile=str(plain.files.ca_file))
    with (
        socket.create_connection(("127.0.0.1", plain.files.plain_port or 0)) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw, server_hostname="localhost")
    reported(plain, ViolationKind.CONNECTION, "TLS on the plain port")


def test_end_while_a_client_says_no_farewell(tmp_path: Path) -> None:
    """A connection that the runtime has closed, and its client has not, does not delay or break the end."""
    with LocalRuntime(tmp_path) as runtime:
        context = ssl.create_default_context(cafile=str(runtime.files.ca_file))
        with (
            socket.create_connection(("localhost", runtime.port)) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(9) == b"HTTP/1.1 "
            began = time.monotonic()
            runtime.stop()
            assert time.monotonic() - began < 20
