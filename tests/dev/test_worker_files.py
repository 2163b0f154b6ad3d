"""The files and variables that describe the runtime to a worker, in every form."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cm_exec.local_runtime.worker_files import Style, WorkerFiles, load_identity


@pytest.fixture
def environment(tmp_path: Path) -> WorkerFiles:
    identity = load_identity(tmp_path / "it's here", ["localhost"])
    made = WorkerFiles(identity=replace(identity, ca=b"the CA"), port=8945, slots=3)
    made.write("the-token")
    return made


def test_files(environment: WorkerFiles) -> None:
    """The files have the contents that the variables promise."""
    variables = environment.variables()
    assert Path(variables["MODULE_AUTH_TOKEN"]).read_text() == "the-token"
    assert Path(variables["DEFAULT_CA_PATH"]).read_text() == "the CA"
    assert Path(variables["CONNECTIONS_TO_OTHER_PODS_CA_PATH"]).read_text() == "the CA"
    assert variables["GET_JOB_URI"] == "https://localhost:8945/interactive-module/api/internal-query/job"
    assert variables["MAX_CONCURRENT_TASKS"] == "3"


def test_connection_file(environment: WorkerFiles) -> None:
    """The older form has a file with the connection to the runtime."""
    variables = environment.variables("connection-file")
    assert variables.keys() == {"CONNECTION_TO_RUNTIME", "MODULE_AUTH_TOKEN", "CONNECTIONS_TO_OTHER_PODS_CA_PATH"}
    assert json.loads(Path(variables["CONNECTION_TO_RUNTIME"]).read_text()) == {
        "host": "localhost",
        "port": 8945,
        "getJobPath": "/interactive-module/api/internal-query/job",
        "postResultPath": "/interactive-module/api/internal-query/results",
        "trustStorePath": str(environment.ca_file),
        "moduleAuthToken": "the-token",
    }


@pytest.mark.parametrize("style", ["modern", "connection-file"])
def test_export_lines(environment: WorkerFiles, style: Style) -> None:
    """A shell gets the same values from the export lines."""
    script = environment.export_lines(style) + "env -0"
    output = subprocess.run(["sh", "-c", script], env={}, capture_output=True, check=True).stdout.decode()
    found = dict(entry.split("=", 1) for entry in output.split("\0") if entry)
    assert environment.variables(style).items() <= found.items()


def test_env_file(environment: WorkerFiles) -> None:
    """The env file has a line for each variable."""
    lines = environment.env_file().splitlines()
    assert dict(line.split("=", 1) for line in lines) == environment.variables()


@pytest.mark.parametrize("style", ["modern", "connection-file"])
def test_mount(environment: WorkerFiles, style: Style) -> None:
    """A container finds the mounted files under the same paths."""
    arguments = environment.docker_arguments(None, style)
    mount = arguments[arguments.index("-v") + 1]
    assert mount == f"{environment.directory}:{environment.directory}:ro"
    variables = dict(arguments[i + 1].split("=", 1) for i, argument in enumerate(arguments) if argument == "-e")
    paths = [Path(value) for value in variables.values() if value.startswith(f"{environment.directory}/")]
    assert len(paths) >= 3
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in paths)


def test_docker_env_file(environment: WorkerFiles) -> None:
    """An env file replaces the variables on the command line of docker."""
    arguments = environment.docker_arguments(Path("worker.env"))
    assert arguments[-2:] == ["--env-file", "worker.env"]
    assert "-e" not in arguments


def test_host_without_a_shared_network(environment: WorkerFiles) -> None:
    """A container outside the machine's network gets another name for the machine."""
    assert environment.docker_arguments(None)[:2] == ["--network", "host"]
    arguments = environment.docker_arguments(None, host="host.docker.internal")
    assert "--network" not in arguments
    assert "GET_JOB_URI=https://host.docker.internal:8945/interactive-module/api/internal-query/job" in arguments
    (connection,) = (a for a in environment.docker_arguments(None, "connection-file", host="x") if "CONNECTION_TO" in a)
    assert json.loads(Path(connection.partition("=")[2]).read_text())["host"] == "host.docker.internal"


def test_identity(tmp_path: Path) -> None:
    """The identity stays the same as long as the folder exists."""
    first, second = (load_identity(tmp_path, ["localhost"]) for _ in range(2))
    assert (first.token, first.callers_token, first.ca) == (second.token, second.callers_token, second.ca)
    assert first.plain_dialect == second.plain_dialect
    secrets = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "private").iterdir() if path.is_file()}
    assert secrets == {"ca-key.pem": 0o600, "callers-token": 0o600}


def test_permissions(environment: WorkerFiles) -> None:
    """Only this user can reach the files."""
    assert environment.directory.parent.stat().st_mode & 0o777 == 0o700
    assert environment.directory.stat().st_mode & 0o777 == 0o755


def test_second_write(environment: WorkerFiles) -> None:
    """A second write replaces all three files."""
    replace(environment, identity=replace(environment.identity, ca=b"new CA")).write("new")
    assert environment.token_file.read_text() == "new"
    assert environment.ca_file.read_text() == "new CA"
    assert json.loads(environment.connection_file.read_text())["moduleAuthToken"] == "new"
    assert len(list(environment.directory.iterdir())) == 4
