"""Jobs as the runtime hands them out."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from cm_exec.protocol.json_text import is_json, member_spans

_SHORTEST_TOKEN: Final = 4
"""Characters of a token that is redacted without its scheme, too."""


class Job(Struct, frozen=True, kw_only=True):
    """One call of a function.

    `query` is the query's JSON text, byte for byte as it came; a large one is a view of the response that brought it.
    The query and the two secrets are left out of the representation, so that no log can show them.
    """

    job_id: str
    query_type: str
    query: bytes | memoryview
    user_id: str | None = None
    auth_header: str | None = None
    temporary_credentials_auth_token: str | None = None

    def __repr__(self) -> str:
        return f"Job(job_id={self.job_id!r}, query_type={self.query_type!r}, user_id={self.user_id!r})"

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The caller's tokens in this job, with their scheme (`Bearer X`) and without it."""
        given = [s for s in (self.auth_header, self.temporary_credentials_auth_token) if s]
        bare = [text for s in given if len(text := s.rpartition(" ")[2]) >= _SHORTEST_TOKEN]
        return tuple(secret.encode(errors="surrogatepass") for secret in dict.fromkeys((*given, *bare)))

    def redact(self, text: bytes) -> bytes:
        """Return the text without the caller's tokens."""
        return redact(text, self.secrets)


def redact(text: bytes, secrets: Iterable[bytes]) -> bytes:
    """Replace all secrets in a text, so that no log and no error shows them; those that overlap become one."""
    end, parts = 0, []
    for start, stop in sorted((at, at + len(secret)) for secret in secrets for at in _places(text, secret)):
        if start >= end:
            parts += [text[end:start], b"[redacted]"]
        end = max(end, stop)
    return b"".join((*parts, text[end:]))


def _places(text: bytes, secret: bytes) -> Iterator[int]:
    at = text.find(secret)
    while at >= 0:
        yield at
        at = text.find(secret, at + len(secret))


class MalformedJobError(Exception):
    """What the runtime sent is not a job.

    `job_id` is the id that the job must be answered under, None where none could be found; `query_type` is the
    function's name, empty where it is not known.
    """

    def __init__(self, message: str, *, job_id: str | None = None, query_type: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        self.query_type = query_type


_ABSENT: Final = msgspec.Raw(b"")


class _Members(msgspec.Struct, rename="camel"):
    job_id: msgspec.Raw = _ABSENT
    query_type: msgspec.Raw = _ABSENT
    query: msgspec.Raw = _ABSENT
    user_id: msgspec.Raw = _ABSENT
    auth_header: msgspec.Raw = _ABSENT
    temporary_credentials_auth_token: msgspec.Raw = _ABSENT


class _Envelope(_Members):
    compute_module_job_v1: _Members | None = msgspec.field(default=None, name="computeModuleJobV1")


class _UsualMembers(msgspec.Struct, rename="camel"):
    """A job as the runtime sends it; anything else is read member by member."""

    job_id: str
    query_type: str
    query: msgspec.Raw
    user_id: str | None = None
    auth_header: str | None = None
    temporary_credentials_auth_token: str | None = None


class _UsualEnvelope(msgspec.Struct):
    compute_module_job_v1: _UsualMembers = msgspec.field(name="computeModuleJobV1")


_LARGE: Final = 256 * 1024
"""Bytes of a job whose query is not copied: new memory for 8 MiB takes a tenth of the job's time."""

_decode_usual: Final = msgspec.json.Decoder(_UsualEnvelope).decode
_decode: Final = msgspec.json.Decoder(_Envelope).decode


def parse_job(body: bytes | bytearray | memoryview) -> Job:
    """Read the answer of GET job, `{"computeModuleJobV1": {"jobId", "queryType", "query", ...}}`.

    The envelope's `type` is not asked for and unknown members are passed over, as the protocol wants; the bare
    members of the V2 listener are taken too.

    Raises MalformedJobError when there is no job to run in it.
    """
    try:
        job = _decode_usual(body).compute_module_job_v1
        if job.job_id:
            return Job(
                job_id=job.job_id,
                query_type=job.query_type,
                query=bytes(job.query) if len(body) < _LARGE else memoryview(job.query),
                user_id=job.user_id,
                auth_header=job.auth_header,
                temporary_credentials_auth_token=job.temporary_credentials_auth_token,
            )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    members = _members(body)
    job_id = _job_id(members.job_id)
    if job_id is None:
        raise MalformedJobError("the job has no jobId", job_id=salvage_job_id(body))
    query_type = _text(members.query_type)
    if query_type is None:
        raise MalformedJobError("the job's queryType is not a string", job_id=job_id)
    query = bytes(members.query)
    if not query:
        raise MalformedJobError("the job has no query", job_id=job_id, query_type=query_type)
    return Job(
        job_id=job_id,
        query_type=query_type,
        query=query,
        user_id=_text(members.user_id),
        auth_header=_text(members.auth_header),
        temporary_credentials_auth_token=_text(members.temporary_credentials_auth_token),
    )


def _members(body: bytes | bytearray | memoryview) -> _Members:
    try:
        envelope = _decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        try:
            members = _scan_members(bytes(body))
            query = bytes(members.query)
            if not query or is_json(query.decode(errors="replace")):  # bytes that are not UTF-8 are the handler's
                return members
            raise MalformedJobError("the job's query is not JSON", job_id=_job_id(members.job_id))
        except ValueError:
            message = f"the job is not readable: {error}"
            raise MalformedJobError(message, job_id=salvage_job_id(body)) from None
    return envelope.compute_module_job_v1 or envelope


def _job_id(raw: msgspec.Raw) -> str | None:
    text = _text(raw)
    if text is None and re.fullmatch(rb"-?\d+", bytes(raw)):
        return bytes(raw).decode()
    return text or None


def _text(raw: msgspec.Raw) -> str | None:
    if not bytes(raw).startswith(b'"'):
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _scan_members(body: bytes) -> _Members:
    """Read a job whose query holds what msgspec refuses: half a surrogate pair, deep nesting, control characters."""
    spans = member_spans(body)
    if "computeModuleJobV1" in spans:
        spans = member_spans(body, spans["computeModuleJobV1"][0])

    def raw(name: str) -> msgspec.Raw:
        start, end = spans.get(name, (0, 0))
        return msgspec.Raw(body[start:end])

    return _Members(**{name: raw(wire) for name, wire in _WIRE_NAMES.items()})


_WIRE_NAMES: Final = {f.name: f.encode_name for f in msgspec.structs.fields(_Members)}


_JOB_ID: Final = re.compile(rb'"jobId"\s*:\s*("(?:[^"\\]|\\.)*")')
_QUERY: Final = re.compile(rb'"query"\s*:')


def salvage_job_id(body: bytes | bytearray | memoryview) -> str | None:
    """Find the job id in a broken or truncated body, so that even this job can be answered.

    Only what stands before the query is looked at: a `jobId` inside a query is not the job's.
    """
    query = _QUERY.search(body)
    found = _JOB_ID.search(body, 0, query.start() if query else len(body))
    return _job_id(msgspec.Raw(found.group(1))) if found else None
