"""The files and environment variables that the platform provides for the worker of a replica."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.scripted_runtime import API, ScriptedRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """The files of one replica in `folder`, and both forms of the environment that names them."""

    folder: Path
    runtime: ScriptedRuntime
    ca_pem: bytes

    @property
    def token_file(self) -> Path:
        return self.folder / "MODULE_AUTH_TOKEN"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def connection_file(self) -> Path:
        return self.folder / "connection.json"

    def write(self) -> None:
        """Write all files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca_file.write_bytes(self.ca_pem)
        self.write_token(self.runtime.token)
        self.connection_file.write_text(self.connection_json())

    def write_token(self, token: str) -> None:
        """Replace the token as the platform does: atomically, with a final line end."""
        fresh = self.token_file.with_suffix(".new")
        fresh.write_text(f"{token}\n")
        fresh.replace(self.token_file)

    def connection_json(self) -> str:
        """Return the content of the original connection file."""
        return json.dumps(
            {
                "host": "localhost",
                "port": self.runtime.port,
                "getJobPath": f"{API}/job",
                "postResultPath": f"{API}/results",
                "trustStorePath": str(self.ca_file),
                "moduleAuthToken": self.runtime.token,
            }
        )

    def modern(self) -> dict[str, str]:
        """Return the variables of today's platform."""
        origin = self.runtime.origin
        return {
            "GET_JOB_URI": f"{origin}{API}/job",
            "POST_RESULT_URI": f"{origin}{API}/results",
            "POST_SCHEMA_URI": f"{origin}{API}/schemas",
            "RESTART_NOTIFICATION_URI": f"{origin}{API}/restart-notify",
            "MODULE_AUTH_TOKEN": str(self.token_file),
            "DEFAULT_CA_PATH": str(self.ca_file),
            "RUNTIME_HOST": "localhost",
            "RUNTIME_PORT": str(self.runtime.port),
            "COMPUTE_SESSION_ID": "ses-of-the-replica",
        }

    def original(self) -> dict[str, str]:
        """Return the variables of the first beta."""
        return {
            "CONNECTION_TO_RUNTIME": str(self.connection_file),
            "MODULE_AUTH_TOKEN": str(self.token_file),
            "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(self.ca_file),
        }


def clean_environment(home: Path) -> dict[str, str]:
    """Return the minimal environment of a program, with coverage's own variables if coverage is measured."""
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(temporary), **coverage}


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without coverage's variables, for a program that cannot write its file."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


def without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return `environment` without some variables."""
    return {name: value for name, value in environment.items() if name not in names}
