"""Where the runtime is: every variable, the connection file, and files that are not there or not whole yet."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cm_exec.errors import NoRuntimeError
from cm_exec.runtime.endpoints import Endpoint, RuntimeEndpoints, is_loopback, read_endpoints, wait_for_endpoints
from cm_exec.runtime.retry import NotReadyError
from tests.support.certificates import Authority

Environ = dict[str, str]


@pytest.fixture(scope="module")
def pem() -> str:
    return Authority().pem.decode()


@pytest.fixture
def modern(tmp_path: Path, pem: str) -> Environ:
    """Today's variables, with their files."""
    (tmp_path / "token").write_text("tok-1\n")
    (tmp_path / "ca.pem").write_text(pem)
    return {
        "GET_JOB_URI": "https://localhost:8945/api/job",
        "POST_RESULT_URI": "https://localhost:8945/api/results",
        "MODULE_AUTH_TOKEN": str(tmp_path / "token"),
        "DEFAULT_CA_PATH": str(tmp_path / "ca.pem"),
    }


def original(tmp_path: Path, pem: str, **members: object) -> Environ:
    """Return the first beta's variable, and write its file and the files that it names."""
    (tmp_path / "trust.pem").write_text(pem)
    content = {
        "host": "localhost",
        "port": 8945,
        "getJobPath": "/api/job",
        "postResultPath": "/api/results",
        "trustStorePath": str(tmp_path / "trust.pem"),
        "moduleAuthToken": "tok-of-the-file",
        **members,
    }
    path = tmp_path / "connection.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return {"CONNECTION_TO_RUNTIME": str(path)}


def not_ready(environ: Mapping[str, str]) -> str:
    with pytest.raises(NotReadyError) as caught:
        read_endpoints(environ)
    return str(caught.value)


def no_runtime(environ: Mapping[str, str]) -> str:
    with pytest.raises(NoRuntimeError) as caught:
        read_endpoints(environ)
    return str(caught.value)


def same_certificates(one: str, other: str) -> bool:
    return "".join(one.split()) == "".join(other.split())


def test_current_variables(modern: Environ, pem: str) -> None:
    """The current variables describe the endpoints, the token and the CA."""
    endpoints = read_endpoints(modern)
    assert endpoints.job == Endpoint("localhost", 8945, "/api/job")
    assert endpoints.result == Endpoint("localhost", 8945, "/api/results")
    assert (endpoints.schema, endpoints.restart, endpoints.token) == (None, None, "tok-1")
    assert same_certificates(endpoints.ca_pem, pem)


def test_optional_endpoints(modern: Environ) -> None:
    """The schema and restart endpoints are optional, and may be paths."""
    endpoints = read_endpoints(
        {**modern, "POST_SCHEMA_URI": "/api/schemas", "RESTART_NOTIFICATION_URI": "https://other:1/restart?x=y"}
    )
    assert endpoints.schema == Endpoint("localhost", 8945, "/api/schemas")
    assert endpoints.restart == Endpoint("other", 1, "/restart?x=y")
    empty = read_endpoints({**modern, "POST_SCHEMA_URI": "", "RESTART_NOTIFICATION_URI": ""})
    assert (empty.schema, empty.restart) == (None, None)


@pytest.mark.parametrize(
    ("uri", "endpoint", "origin"),
    [
        ("https://h/p", Endpoint("h", 443, "/p"), "https://h:443"),
        ("https://127.0.0.1:1", Endpoint("127.0.0.1", 1, "/"), "https://127.0.0.1:1"),
        ("https://[::1]:8945/p?q=r", Endpoint("::1", 8945, "/p?q=r"), "https://[::1]:8945"),
        ("HTTPS://HOST:2/P", Endpoint("host", 2, "/P"), "https://host:2"),
    ],
)
def test_a_uri_is_taken_apart(modern: Environ, uri: str, endpoint: Endpoint, origin: str) -> None:
    job = read_endpoints({**modern, "GET_JOB_URI": uri}).job
    assert (job, job.origin) == (endpoint, origin)


@pytest.mark.parametrize(
    "uri", ["http://example.org/job", "/api/job", "localhost:8945", "https://", "https://[::1/x", "https://h:port/"]
)
def test_rejected_uri(modern: Environ, uri: str) -> None:
    """A URI that is invalid, or would send the token unencrypted, is rejected."""
    message = no_runtime({**modern, "GET_JOB_URI": uri})
    assert "GET_JOB_URI" in message
    assert uri in message


def test_each_uri_is_checked(modern: Environ) -> None:
    for name in ("POST_RESULT_URI", "POST_SCHEMA_URI", "RESTART_NOTIFICATION_URI"):
        assert name in no_runtime({**modern, name: "http://example.org/x"})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]", "LOCALHOST"])
def test_plain_http_on_loopback(modern: Environ, host: str) -> None:
    """Plain HTTP is accepted on loopback, and needs no CA."""
    names = {"GET_JOB_URI": f"http://{host}:8946/job", "POST_RESULT_URI": "/results/", "DEFAULT_CA_PATH": "/gone"}
    endpoints = read_endpoints({**modern, **names})
    assert (endpoints.job.port, endpoints.job.is_secure, endpoints.ca_pem) == (8946, False, "")
    assert endpoints.job.origin.lower() == f"http://{host.lower()}:8946"
    assert endpoints.result.path == "/results"
    assert read_endpoints({**modern, "GET_JOB_URI": f"http://{host}/job"}).ca_pem, "results go by TLS"


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "0.0.0.0", "localhost.example.org", "127.0.0.1.nip.io"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("path", ["/results/", "/results//", "/results"])
def test_trailing_slash(modern: Environ, path: str) -> None:
    """A slash at the end of the result URI does not matter."""
    assert read_endpoints({**modern, "POST_RESULT_URI": f"https://h{path}"}).result.path == "/results"


def test_ca_variables(modern: Environ, tmp_path: Path, pem: str) -> None:
    """Either variable names the CA file, and the first one has precedence."""
    other = tmp_path / "other.pem"
    other.write_text(Authority().pem.decode())
    both = {**modern, "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(other)}
    assert same_certificates(read_endpoints(both).ca_pem, pem)
    del both["DEFAULT_CA_PATH"]
    assert same_certificates(read_endpoints(both).ca_pem, other.read_text())


def test_a_token_may_be_given_itself(modern: Environ) -> None:
    for token in ("eyJhbGciOi.J9.abc", "x" * 5000):
        assert read_endpoints({**modern, "MODULE_AUTH_TOKEN": f" {token}\n"}).token == token


def test_a_relative_path_of_a_token_file_is_one(
    modern: Environ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_endpoints({**modern, "MODULE_AUTH_TOKEN": "token"}).token == "tok-1"


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "caf\u00e9", "a\tb"])
def test_invalid_token(modern: Environ, tmp_path: Path, content: str) -> None:
    """An empty or invalid token is not ready."""
    (tmp_path / "token").write_text(content)
    message = not_ready(modern)
    assert message.startswith("MODULE_AUTH_TOKEN")
    assert "caf" not in message


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_token_variable_is_no_runtime(modern: Environ, value: str | None) -> None:
    environ = {k: v for k, v in modern.items() if k != "MODULE_AUTH_TOKEN"}
    assert "MODULE_AUTH_TOKEN" in no_runtime(environ if value is None else {**environ, "MODULE_AUTH_TOKEN": value})


def test_missing_ca_variables_are_no_runtime(modern: Environ) -> None:
    message = no_runtime({**modern, "DEFAULT_CA_PATH": ""})
    assert "DEFAULT_CA_PATH" in message
    assert "CONNECTIONS_TO_OTHER_PODS_CA_PATH" in message


@pytest.mark.parametrize("name", ["MODULE_AUTH_TOKEN", "DEFAULT_CA_PATH"])
def test_a_file_that_is_missing_is_not_ready(modern: Environ, name: str, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    message = not_ready({**modern, name: gone})
    assert name in message
    assert gone in message


@pytest.mark.parametrize("name", ["MODULE_AUTH_TOKEN", "DEFAULT_CA_PATH"])
def test_a_file_that_is_no_text_is_not_ready(modern: Environ, name: str) -> None:
    Path(modern[name]).write_bytes(b"\xff\xfe\x00")
    assert "is not text" in not_ready(modern)


def test_partial_ca_file(modern: Environ, tmp_path: Path, pem: str) -> None:
    """A CA file is not ready while it is being written."""
    bundle = pem + pem
    ready = 0
    for end in range(0, len(bundle) + 1, 5):
        (tmp_path / "ca.pem").write_text(bundle[:end])
        begun, whole = (bundle[:end].count(f"{word} CERTIFICATE-----") for word in ("BEGIN", "END"))
        if begun == whole > 0:
            read_endpoints(modern)
            ready += 1
        else:
            not_ready(modern)
    assert ready


def test_comments_in_a_ca_file_do_not_matter(modern: Environ, tmp_path: Path, pem: str) -> None:
    (tmp_path / "ca.pem").write_text(f"# Főtanúsítvány\n{pem}\n# the end\n{pem}", encoding="utf-8")
    assert same_certificates(read_endpoints(modern).ca_pem, pem + pem)


def test_the_original_connection_file(tmp_path: Path, pem: str) -> None:
    endpoints = read_endpoints(original(tmp_path, pem))
    assert endpoints.job == Endpoint("localhost", 8945, "/api/job")
    assert endpoints.result == Endpoint("localhost", 8945, "/api/results")
    assert (endpoints.schema, endpoints.restart, endpoints.token) == (None, None, "tok-of-the-file")
    assert same_certificates(endpoints.ca_pem, pem)


def test_forms_of_the_connection_file(tmp_path: Path, pem: str) -> None:
    """The connection file may have a path without a slash, a port in a string and an IPv6 address."""
    endpoints = read_endpoints(original(tmp_path, pem, host="::1", port="1", getJobPath="job", extra={"a": 1}))
    assert endpoints.job == Endpoint("::1", 1, "/job")


def test_gaps_in_the_connection_file(tmp_path: Path, pem: str, modern: Environ) -> None:
    """The variables supply what the connection file leaves out."""
    environ = original(tmp_path, Authority().pem.decode(), moduleAuthToken=None, trustStorePath="")
    names = ("MODULE_AUTH_TOKEN", "DEFAULT_CA_PATH")
    endpoints = read_endpoints(
        {**environ, **{name: modern[name] for name in names}, "POST_SCHEMA_URI": "/s", "GET_JOB_URI": "https://other/"}
    )
    assert (endpoints.token, endpoints.schema) == ("tok-1", Endpoint("localhost", 8945, "/s"))
    assert same_certificates(endpoints.ca_pem, pem)


def test_precedence_of_the_variables(modern: Environ, tmp_path: Path, pem: str) -> None:
    """The current variables have precedence over the connection file."""
    assert read_endpoints({**original(tmp_path, pem, host="old"), **modern}).job.host == "localhost"


def test_partial_connection_file(tmp_path: Path, pem: str) -> None:
    """A connection file is not ready while it is being written."""
    environ = original(tmp_path, pem)
    path = Path(environ["CONNECTION_TO_RUNTIME"])
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert "CONNECTION_TO_RUNTIME" in not_ready(environ)
    path.unlink()
    not_ready(environ)


@pytest.mark.parametrize(
    "change", [{"host": None}, {"port": "x"}, {"port": 1.5}, {"getJobPath": 7}, {"moduleAuthToken": "a\nb"}]
)
def test_wrong_connection_file(tmp_path: Path, pem: str, change: dict[str, object]) -> None:
    """A wrong connection file is reported."""
    environ = original(tmp_path, pem, **change)
    with pytest.raises((NotReadyError, NoRuntimeError), match="CONNECTION_TO_RUNTIME"):
        read_endpoints(environ)


def test_missing_trust_store(tmp_path: Path, pem: str) -> None:
    """A missing trust store is not ready."""
    message = not_ready(original(tmp_path, pem, trustStorePath=str(tmp_path / "gone")))
    assert "trustStorePath" in message


@pytest.mark.parametrize(
    "environ", [{}, {"GET_JOB_URI": "https://h/"}, {"POST_RESULT_URI": "https://h/"}, {"CONNECTION_TO_RUNTIME": ""}]
)
def test_no_variables(environ: Environ) -> None:
    """The error for missing variables names them."""
    message = no_runtime(environ)
    missing = {"GET_JOB_URI", "POST_RESULT_URI"} - environ.keys()
    assert all(name in message for name in missing | {"CONNECTION_TO_RUNTIME", "cm-exec invoke"})


def test_neither_token_nor_ca_show_in_endpoints(modern: Environ) -> None:
    shown = repr(read_endpoints(modern))
    assert "tok-1" not in shown
    assert "CERTIFICATE" not in shown


async def test_files_that_come_late_are_waited_for(modern: Environ, tmp_path: Path, pem: str) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.pem"
    token.unlink()
    ca.write_text(pem[:200])
    waiting = asyncio.create_task(wait_for_endpoints(modern, 60))
    for path, text in ((token, "late"), (ca, pem)):
        await asyncio.sleep(0.15)
        assert not waiting.done()
        path.write_text(text)
    endpoints = await waiting
    assert isinstance(endpoints, RuntimeEndpoints)
    assert endpoints.token == "late"


async def test_files_that_are_there_are_not_waited_for(modern: Environ) -> None:
    assert (await wait_for_endpoints(modern, 0)).token == "tok-1"


async def test_waiting_ends_after_its_time(modern: Environ, tmp_path: Path) -> None:
    (tmp_path / "token").unlink()
    with pytest.raises(NoRuntimeError, match=r"MODULE_AUTH_TOKEN.*waited 0\.2 s for it"):
        await wait_for_endpoints(modern, 0.2)


async def test_permanent_error(modern: Environ) -> None:
    """An error that waiting cannot fix is raised at once."""
    with pytest.raises(NoRuntimeError, match="ftp"):
        await wait_for_endpoints({**modern, "GET_JOB_URI": "ftp://x"}, 600)
