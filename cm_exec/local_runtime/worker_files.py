"""The connection settings of a worker: files and environment variables, as the platform sets them."""

import os
import shlex
import ssl
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final, Literal

import msgspec
import trustme

from cm_exec.local_runtime.http import endpoints as paths
from cm_exec.protocol import environment as names

Style = Literal["modern", "connection-file"]

IN_CONTAINER: Final = PurePosixPath("/opt/cm-exec-runtime")
"""Where a container finds the files."""

_CA: Final = "ca.pem"
_TOKEN: Final = "token"  # noqa: S105 - a file's name
_CONNECTION: Final = "connection.json"
_CONTAINER_CONNECTION: Final = "connection-in-container.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFiles:
    """The files in `directory`, and the variables that name them and the runtime at localhost:`port`.

    The files are readable by all, for a container's user is somebody else; the folder around `directory` is not.
    """

    directory: Path
    port: int
    slots: int

    @property
    def token_file(self) -> Path:
        """The file that holds the token."""
        return self.directory / _TOKEN

    @property
    def ca_file(self) -> Path:
        """The file that holds the CA, PEM."""
        return self.directory / _CA

    @property
    def connection_file(self) -> Path:
        """The legacy connection file."""
        return self.directory / _CONNECTION

    def write(self, *, token: str, ca: bytes) -> None:
        """Write or replace all files; a reader sees the old or the new one, never half of it."""
        _replace(self.ca_file, ca)
        _replace(self.token_file, token.encode())
        _replace(self.connection_file, msgspec.json.encode(self._connection(token, self.directory)))
        in_container = msgspec.json.encode(self._connection(token, IN_CONTAINER))
        _replace(self.directory / _CONTAINER_CONNECTION, in_container)

    def variables(self, style: Style = "modern") -> dict[str, str]:
        """The variables that are set for a worker on this machine."""
        return self._variables(style, self.directory, _CONNECTION, "localhost")

    def env_file(self, style: Style = "modern") -> str:
        """The variables a line each, as `docker run --env-file` and many tools read them."""
        return "".join(f"{name}={value}\n" for name, value in self.variables(style).items())

    def export_lines(self, style: Style = "modern") -> str:
        """The variables as a shell reads them."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.variables(style).items())

    def docker_arguments(self, style: Style = "modern", *, host: str = "localhost") -> list[str]:
        """What makes `docker run` (or podman's) start a worker of this runtime.

        With localhost the container shares the machine's network, as the sidecar's replica does. Where that cannot
        be (Docker Desktop), `host` is the name under which a container reaches this machine: host.docker.internal.
        """
        network = ["--network", "host"] if host == "localhost" else []
        variables = self._variables(style, IN_CONTAINER, _CONTAINER_CONNECTION, host)
        settings = [argument for name, value in variables.items() for argument in ("-e", f"{name}={value}")]
        return [*network, "-v", f"{self.directory}:{IN_CONTAINER}:ro", *settings]

    def _variables(self, style: Style, folder: PurePath, connection: str, host: str) -> dict[str, str]:
        common = {names.MODULE_AUTH_TOKEN: str(folder / _TOKEN), names.PEER_CA_PATH: str(folder / _CA)}
        if style == "connection-file":
            return {**common, names.CONNECTION_TO_RUNTIME: str(folder / connection)}
        root = f"https://{host}:{self.port}"
        return {
            **common,
            names.GET_JOB_URI: root + paths.JOB_PATH,
            names.POST_RESULT_URI: root + paths.RESULTS_PATH,
            names.POST_SCHEMA_URI: root + paths.SCHEMAS_PATH,
            names.RESTART_NOTIFICATION_URI: root + paths.RESTART_PATH,
            names.DEFAULT_CA_PATH: str(folder / _CA),
            names.MAX_CONCURRENT_TASKS: str(self.slots),
            "RUNTIME_HOST": host,
            "RUNTIME_PORT": str(self.port),
            "RUNTIME_API": f"{host}:{self.port}",
            "GET_JOB_PATH": paths.JOB_PATH,
            "POST_RESULT_PATH": paths.RESULTS_PATH,
        }

    def _connection(self, token: str, folder: PurePath) -> dict[str, Any]:
        return {
            "host": "localhost",
            "port": self.port,
            "getJobPath": paths.JOB_PATH,
            "postResultPath": paths.RESULTS_PATH,
            "trustStorePath": str(folder / _CA),
            "moduleAuthToken": token,
        }


def create_folder(directory: Path) -> Path:
    """A folder in `directory` for the files that only this user may reach."""
    private = directory / "private"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    private.chmod(0o700)
    folder = private / "worker"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """`server` is ready to accept connections; `ca` is the PEM that a worker trusts."""

    server: ssl.SSLContext
    ca: bytes


def issue_certificates() -> Certificates:
    """A new CA, and a certificate for the names under which a worker may reach the runtime.

    `host.docker.internal` and `host.containers.internal` are how a container names the machine it runs on.
    """
    authority = trustme.CA(organization_name="cm-exec local runtime")
    names = ("localhost", "127.0.0.1", "::1", "host.docker.internal", "host.containers.internal")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    return Certificates(server=server, ca=authority.cert_pem.bytes())
