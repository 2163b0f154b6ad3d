"""Where the protocol's requests go, as on the platform."""

import urllib.parse
from typing import Final

from cm_exec.local_runtime.core.faults import ProtocolEndpoint

ROOT: Final = "/interactive-module/api/internal-query"
JOB_PATH: Final = f"{ROOT}/job"
RESULTS_PATH: Final = f"{ROOT}/results"
SCHEMAS_PATH: Final = f"{ROOT}/schemas"
RESTART_PATH: Final = f"{ROOT}/restart-notify"

_FIXED: Final = {
    ("GET", JOB_PATH): ProtocolEndpoint.POLL,
    ("POST", SCHEMAS_PATH): ProtocolEndpoint.SCHEMAS,
    ("POST", RESTART_PATH): ProtocolEndpoint.RESTART,
}


def endpoint_of(method: str, path: str) -> ProtocolEndpoint | None:
    """Which of the protocol's requests this is, None where it is none."""
    if method == "POST" and path.startswith(f"{RESULTS_PATH}/"):
        return ProtocolEndpoint.RESULT
    return _FIXED.get((method, path))


def job_id_of(raw_path: bytes) -> str:
    """The job's id in the path of a posted result, percent-decoded."""
    return urllib.parse.unquote(raw_path[len(RESULTS_PATH) + 1 :].decode("ascii"))
