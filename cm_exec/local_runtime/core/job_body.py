"""The answer to a poll: a job in its envelope, around a query that is never read."""

from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller asks for. `query` is JSON text, handed on byte for byte; `timeout` in seconds, None for none.

    `replay_of` is the id of the job whose query is sent again.
    """

    function: str
    query: bytes = field(repr=False)
    user_id: str | None = None
    auth_header: str | None = field(default=None, repr=False)
    temporary_credentials_auth_token: str | None = field(default=None, repr=False)
    timeout: float | None = None
    replay_of: str | None = None


def job_body(job_id: str, submission: Submission) -> tuple[bytes, bytes, bytes]:
    """Head, query and tail of the body; apart, so that a large query is not copied."""
    head = b'{"type":"computeModuleJobV1","computeModuleJobV1":{"jobId":%b,"queryType":%b,"query":' % (
        msgspec.json.encode(job_id),
        msgspec.json.encode(submission.function),
    )
    optional = {
        b"temporaryCredentialsAuthToken": submission.temporary_credentials_auth_token,
        b"authHeader": submission.auth_header,
        b"userId": submission.user_id,
    }
    members = b"".join(b',"%b":%b' % (n, msgspec.json.encode(v)) for n, v in optional.items() if v is not None)
    return head, submission.query, members + b"}}"
