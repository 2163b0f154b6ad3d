"""Read the results that a worker posted."""

import json
from typing import Any

from tests.support.request_log import Request

_ALWAYS = {"error", "reason", "jobId", "queryType"}
_SOMETIMES = {"exitCode", "signal", "status", "stderr", "output"}


def error_of(result: Request, *, function: str | None = None) -> dict[str, Any]:
    """Return the members of an error result. Fails if it does not have the documented form."""
    members = json.loads(bytes(result.body))
    assert isinstance(members, dict)
    assert set(members) >= _ALWAYS, members
    assert set(members) <= _ALWAYS | _SOMETIMES, members
    assert members["jobId"] == result.job_id
    assert isinstance(members["error"], str)
    assert members["error"]
    if function is not None:
        assert members["queryType"] == function
    return members
