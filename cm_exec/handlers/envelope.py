"""The envelope in which a persistent process gets a query, and may give a result. Bytes in, bytes out."""

import json

import msgspec

from cm_exec.handlers.framing import OutOfStepError
from cm_exec.protocol.job import Job
from cm_exec.protocol.json_text import json_problem
from cm_exec.protocol.member_spans import member_spans


def wrap(job: Job, *, credentials: bool) -> bytes:
    """`{"jobId", "queryType", "userId", "query"}`, the query byte for byte; with `credentials` the caller's tokens."""
    members: dict[str, str | None] = {"jobId": job.job_id, "queryType": job.query_type, "userId": job.user_id}
    if credentials:
        members["authHeader"] = job.auth_header
        members["temporaryCredentialsAuthToken"] = job.temporary_credentials_auth_token
    return msgspec.json.encode(members)[:-1] + b',"query":' + job.query + b"}"


class _ResultEnvelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    job_id: str
    result: msgspec.Raw


class _Named(msgspec.Struct, rename="camel"):
    job_id: str | msgspec.UnsetType = msgspec.UNSET


def unwrap(result: bytes, job_id: str) -> bytes:
    """The result of `{"jobId", "result"}`; any other result stays as it is.

    Raises OutOfStepError where a result names another job.
    """
    try:
        named = msgspec.json.decode(result, type=_Named).job_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _unwrap_by_places(result, job_id)
    if named is msgspec.UNSET:
        return result
    if named != job_id:
        raise OutOfStepError("a result that names another job")
    try:
        return bytes(msgspec.json.decode(result, type=_ResultEnvelope).result)
    except msgspec.MsgspecError:
        return result


def _unwrap_by_places(result: bytes, job_id: str) -> bytes:
    r"""The same for JSON that msgspec refuses: half a surrogate pair (`"\ud83d"`)."""
    if json_problem(result) is not None:
        return result
    text = result.decode()
    try:
        members = {name: text[start:end] for name, (start, end) in member_spans(text).items()}
        named = json.loads(members["jobId"])
    except (ValueError, LookupError, RecursionError):
        return result
    if isinstance(named, str) and named != job_id:
        raise OutOfStepError("a result that names another job")
    return members["result"].encode() if named == job_id and members.keys() == {"jobId", "result"} else result
