"""The connection settings of a worker: files and environment variables, as the platform sets them."""

import hashlib
import ipaddress
import os
import secrets
import shlex
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import trustme

from cm_exec.errors import UsageError
from cm_exec.local_runtime.core.endpoints import V1, ProtocolDialect
from cm_exec.local_runtime.core.faults import ProtocolEndpoint
from cm_exec.protocol import environment as names

Style = Literal["modern", "connection-file"]

_CA: Final = "ca.pem"
_TOKEN: Final = "token"  # noqa: S105 - a file's name
_CA_KEY: Final = "ca-key.pem"
_CALLERS_TOKEN: Final = "callers-token"  # noqa: S105 - a file's name
_CONNECTION: Final = "connection.json"
_CONTAINER_CONNECTION: Final = "connection-in-container.json"
CONTAINER_HOST: Final = "host.docker.internal"
"""How a container reaches the machine it runs on, where it does not share its network."""
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeIdentity:
    """What stays the same for as long as the folder lives: tokens and certificates.

    `tls` accepts connections with a certificate of the CA `ca`, PEM. `callers_token` opens the callers' port.
    """

    directory: Path
    token: str
    callers_token: str
    ca: bytes
    tls: ssl.SSLContext

    @property
    def plain_dialect(self) -> ProtocolDialect:
        """The plain API, under a secret root that only the environment of a worker names."""
        secret = hashlib.sha256(b"plain api " + self.token.encode()).hexdigest()[:32]
        return ProtocolDialect(f"/{secret}", plain=True)


def load_identity(directory: Path, hosts: Sequence[str]) -> RuntimeIdentity:
    """Read the identity in `directory`, and create what is missing. The certificate is good for `hosts`.

    Only this user can enter the folder `private`. The folder in it is readable by everybody, since a container that
    mounts it runs as another user.
    """
    private = directory / "private"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    private.chmod(0o700)
    folder = private / "worker"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    authority = _load_authority(folder / _CA, private / _CA_KEY)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*dict.fromkeys(hosts)).configure_cert(server)
    return RuntimeIdentity(
        directory=folder,
        token=_load_token(folder / _TOKEN, mode=0o644),
        callers_token=_load_token(private / _CALLERS_TOKEN, mode=0o600),
        ca=authority.cert_pem.bytes(),
        tls=server,
    )


def _load_authority(certificate: Path, key: Path) -> trustme.CA:
    with suppress(OSError, ValueError):
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="cm-exec local runtime")
    replace_file(key, authority.private_key_pem.bytes(), mode=0o600)
    replace_file(certificate, authority.cert_pem.bytes())
    return authority


def _load_token(path: Path, *, mode: int) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if token := path.read_text("ascii").strip():
            return token
    token = secrets.token_urlsafe(32)
    replace_file(path, token.encode(), mode=mode)
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFiles:
    """The files of an identity, and the variables that name them and the runtime at `port`.

    `host` is how workers in containers and on other machines reach the runtime, `local_host` how those on this machine
    do. `plain_port` is None where the plain API is not served.
    """

    identity: RuntimeIdentity
    port: int
    slots: int
    host: str = "localhost"
    local_host: str = "localhost"
    plain_port: int | None = None

    @property
    def directory(self) -> Path:
        """The folder that workers read."""
        return self.identity.directory

    @property
    def url(self) -> str:
        """Where workers on this machine find the runtime."""
        return f"https://{_bracketed(self.local_host)}:{self.port}"

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

    @property
    def env_path(self) -> Path:
        """A file for `env_file`, which only this user can read: the plain API's addresses are secret."""
        return self.directory.parents[1] / "worker.env"

    def write(self, token: str) -> None:
        """Write or replace all files; a reader sees the old or the new one, never half of it. Raises UsageError."""
        try:
            str(self.directory).encode()
        except UnicodeEncodeError:
            message = f"the path of the runtime's folder is not UTF-8: {str(self.directory)!r}"
            raise UsageError(f"{message}; set TMPDIR or --runtime-dir to another folder") from None
        replace_file(self.ca_file, self.identity.ca)
        replace_file(self.token_file, token.encode())
        container_host = CONTAINER_HOST if self.shares_network else self.host
        for name, host in ((_CONNECTION, self.local_host), (_CONTAINER_CONNECTION, container_host)):
            replace_file(self.directory / name, msgspec.json.encode(self._connection(token, host)))

    def variables(self, style: Style = "modern", *, host: str | None = None) -> dict[str, str]:
        """Return the variables for a worker that reaches the runtime at `host`; without it, for one on this machine.

        The paths are the same in a container, since the folder is mounted under its own path.
        """
        common = {names.MODULE_AUTH_TOKEN: str(self.token_file), names.PEER_CA_PATH: str(self.ca_file)}
        if style == "connection-file":
            connection = _CONNECTION if host is None else _CONTAINER_CONNECTION
            return {**common, names.CONNECTION_TO_RUNTIME: str(self.directory / connection)}
        plain = self._plain_variables() if host is None else {}
        host = host or self.local_host
        root = f"https://{_bracketed(host)}:{self.port}"
        return {
            **common,
            names.GET_JOB_URI: root + V1.path(ProtocolEndpoint.POLL),
            names.POST_RESULT_URI: root + V1.path(ProtocolEndpoint.RESULT),
            names.POST_SCHEMA_URI: root + V1.path(ProtocolEndpoint.SCHEMAS),
            names.RESTART_NOTIFICATION_URI: root + V1.path(ProtocolEndpoint.RESTART),
            **plain,
            names.DEFAULT_CA_PATH: str(self.ca_file),
            names.MAX_CONCURRENT_TASKS: str(self.slots),
            "RUNTIME_HOST": host,
            "RUNTIME_PORT": str(self.port),
            "RUNTIME_API": f"{_bracketed(host)}:{self.port}",
            "GET_JOB_PATH": V1.path(ProtocolEndpoint.POLL),
            "POST_RESULT_PATH": V1.path(ProtocolEndpoint.RESULT),
        }

    def _plain_variables(self) -> dict[str, str]:
        if self.plain_port is None:
            return {}
        root, plain = f"http://127.0.0.1:{self.plain_port}", self.identity.plain_dialect
        return {
            "GET_JOB_URI_V2": root + plain.path(ProtocolEndpoint.POLL),
            "POST_RESULT_URI_V2": root + plain.path(ProtocolEndpoint.RESULT),
            "POST_SCHEMA_URI_V2": root + plain.path(ProtocolEndpoint.SCHEMAS),
        }

    @property
    def shares_network(self) -> bool:
        """Whether the env file is for workers that share this machine's network."""
        return self.host == "localhost"

    def env_file(self, style: Style = "modern") -> str:
        """Return the variables as `docker run --env-file` reads them: one a line, without quotes."""
        host = None if self.shares_network else self.host
        return "".join(f"{name}={value}\n" for name, value in self.variables(style, host=host).items())

    def export_lines(self, style: Style = "modern") -> str:
        """Return the variables as a shell reads them."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.variables(style).items())

    def docker_arguments(self, env_file: Path | None, style: Style = "modern", *, host: str | None = None) -> list[str]:
        """Return what makes `docker run` (or podman's) start a worker of this runtime.

        Without a host the container shares the machine's network, as a replica's containers do. The variables come
        from `env_file`, or one by one.
        """
        network = ["--network", "host"] if host is None else []
        mount = ["-v", f"{self.directory}:{self.directory}:ro"]
        if env_file is not None:
            return [*network, *mount, "--env-file", str(env_file)]
        variables = self.variables(style, host=host)
        return [*network, *mount, *(part for name, value in variables.items() for part in ("-e", f"{name}={value}"))]

    def _connection(self, token: str, host: str) -> dict[str, Any]:
        return {
            "host": host,
            "port": self.port,
            "getJobPath": V1.path(ProtocolEndpoint.POLL),
            "postResultPath": V1.path(ProtocolEndpoint.RESULT),
            "trustStorePath": str(self.ca_file),
            "moduleAuthToken": token,
        }


def _bracketed(host: str) -> str:
    with suppress(ValueError):
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    return host


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file under another name first, so that a reader sees the old or the new content.

    What is no file, such as /dev/null or a named pipe, is written to, and stays.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        path.write_bytes(content)
        return
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask is: a container's user must read the worker's files
        file.write(content)
    draft.replace(path)
