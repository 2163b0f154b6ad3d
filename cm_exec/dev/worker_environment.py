"""What a worker is told of the runtime: files and environment variables, as the platform sets them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from cm_exec.dev import protocol_api
from cm_exec.protocol import environment as names

Style = Literal["modern", "connection-file"]

CA_FILE: Final = "ca.pem"
TOKEN_FILE: Final = "token"  # noqa: S105 - a file's name
CONNECTION_FILE: Final = "connection.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnvironment:
    """The files in `directory`, and the variables that name them and the runtime at localhost:`port`."""

    directory: Path
    port: int
    slots: int
    host: str = "localhost"

    @property
    def token_file(self) -> Path:
        """The file that holds the token."""
        return self.directory / TOKEN_FILE

    @property
    def ca_file(self) -> Path:
        """The file that holds the CA, PEM."""
        return self.directory / CA_FILE

    @property
    def connection_file(self) -> Path:
        """The legacy connection file."""
        return self.directory / CONNECTION_FILE

    def write(self, *, token: str, ca: bytes) -> None:
        """Write or replace all three files; a reader sees the old or the new one, never half of it."""
        _replace(self.ca_file, ca, mode=0o644)
        _replace(self.token_file, token.encode(), mode=0o600)
        _replace(self.connection_file, msgspec.json.encode(self.connection(token)), mode=0o600)

    def connection(self, token: str) -> dict[str, Any]:
        """The legacy connection file's content."""
        return {
            "host": self.host,
            "port": self.port,
            "getJobPath": protocol_api.JOB_PATH,
            "postResultPath": protocol_api.RESULTS_PATH,
            "trustStorePath": str(self.ca_file),
            "moduleAuthToken": token,
        }

    def variables(self, style: Style = "modern") -> dict[str, str]:
        """The variables that are set for a worker."""
        common = {
            names.MODULE_AUTH_TOKEN: str(self.token_file),
            names.PEER_CA_PATH: str(self.ca_file),
        }
        if style == "connection-file":
            return {**common, names.CONNECTION_TO_RUNTIME: str(self.connection_file)}
        root = f"https://{self.host}:{self.port}"
        return {
            **common,
            names.GET_JOB_URI: root + protocol_api.JOB_PATH,
            names.POST_RESULT_URI: root + protocol_api.RESULTS_PATH,
            names.POST_SCHEMA_URI: root + protocol_api.SCHEMAS_PATH,
            names.RESTART_NOTIFICATION_URI: root + protocol_api.RESTART_PATH,
            names.DEFAULT_CA_PATH: str(self.ca_file),
            names.MAX_CONCURRENT_TASKS: str(self.slots),
            "RUNTIME_HOST": self.host,
            "RUNTIME_PORT": str(self.port),
            "RUNTIME_API": f"{self.host}:{self.port}",
            "GET_JOB_PATH": protocol_api.JOB_PATH,
            "POST_RESULT_PATH": protocol_api.RESULTS_PATH,
        }


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
