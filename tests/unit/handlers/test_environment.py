"""What a handler's environment holds, and what it never holds."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from cm_exec.handlers import command_environment, job_environment, read_environment, service_environment
from cm_exec.protocol import Job
from cm_exec.protocol import environment as names
from tests.support.handlers import function_of

JOB = Job(
    job_id="j-1",
    query_type="double",
    query=b"1",
    user_id="u-1",
    auth_header="Bearer a",
    temporary_credentials_auth_token="t",
)


def test_inherited_variables(tmp_path: Path) -> None:
    """A handler inherits every variable of the launcher byte for byte."""
    launcher = {b"PATH": b"/bin", b"\xff": b"\xfe=\xfd", b"EMPTY": b""}
    assert command_environment(function_of(tmp_path, "true"), launcher) == launcher


@pytest.mark.parametrize("name", sorted(names.CONNECTION_VARIABLES | names.JOB_VARIABLES))
def test_variables_that_are_never_inherited(tmp_path: Path, name: str) -> None:
    """No handler inherits the variables of the connection or of an outer job."""
    launcher = {name.encode(): b"secret", b"PATH": b"/bin"}
    for wanted in (None, (name, "PATH")):  # cm.toml may not even name them
        function = replace(function_of(tmp_path, "true"), inherit_env=wanted)
        assert command_environment(function, launcher) == {b"PATH": b"/bin"}


def test_only_what_is_wanted_is_inherited(tmp_path: Path) -> None:
    launcher = {b"A": b"1", b"B": b"2", b"AB": b"3"}
    assert command_environment(function_of(tmp_path, "true", inherit_env=["A", "C"]), launcher) == {b"A": b"1"}
    assert command_environment(function_of(tmp_path, "true", inherit_env=[]), launcher) == {}


def test_the_function_s_own_variables_come_on_top(tmp_path: Path) -> None:
    function = function_of(tmp_path, "true", env={"A": "own", "É": "é"}, inherit_env=["A"])
    expected = {b"A": b"own", "É".encode(): "é".encode()}
    assert command_environment(function, {b"A": b"1", b"B": b"2"}) == expected


def test_job_variables() -> None:
    """A process gets its job's variables."""
    told = {b"CM_JOB_ID": b"j-1", b"CM_QUERY_TYPE": b"double", b"CM_USER_ID": b"u-1"}
    assert job_environment(JOB, credentials=False) == told
    tokens = {b"CM_AUTH_HEADER": b"Bearer a", b"CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN": b"t"}
    assert job_environment(JOB, credentials=True) == told | tokens


def test_what_a_job_does_not_have_is_not_there() -> None:
    bare = Job(job_id="j", query_type="", query=b"1")
    assert job_environment(bare, credentials=True) == {b"CM_JOB_ID": b"j", b"CM_QUERY_TYPE": b""}


def test_odd_characters() -> None:
    """Any name can be the value of a variable."""
    odd = Job(job_id="a\0b=c\né", query_type="\ud83d", query=b"1")
    assert job_environment(odd, credentials=False) == {b"CM_JOB_ID": "ab=c\né".encode(), b"CM_QUERY_TYPE": b"?"}


def test_launcher_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher's environment is the one that it was started with."""
    monkeypatch.setenv("SET_LATER_ON", "1")
    started = read_environment()
    assert b"SET_LATER_ON" not in started
    assert started[b"PATH"]


@pytest.mark.parametrize("name", ["DEFAULT_CA_PATH", "CONNECTIONS_TO_OTHER_PODS_CA_PATH"])
def test_the_ca_paths_are_inherited(tmp_path: Path, name: str) -> None:
    """They name public certificates, and the documented recipes for calls back to Foundry need them."""
    launcher = {name.encode(): b"/ca.pem"}
    assert command_environment(function_of(tmp_path, "true"), launcher) == launcher


def test_unbuffered_python(tmp_path: Path) -> None:
    """A service in Python does not buffer its output by default."""
    function = function_of(tmp_path, "true", mode="persistent")
    assert function.service is not None
    assert service_environment(function.service, {})[b"PYTHONUNBUFFERED"] == b"1"
    own = function_of(tmp_path, "true", mode="persistent", env={"PYTHONUNBUFFERED": ""}).service
    assert own is not None
    assert service_environment(own, {})[b"PYTHONUNBUFFERED"] == b""
