"""The runtime's values as the JSON of its API for callers, and the stream of what changes.

Times are milliseconds since the epoch.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from cm_exec import __version__
from cm_exec.local_runtime.answers import NO_STORE
from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.core.faults import format_fault, parse_fault
from cm_exec.local_runtime.core.functions import FunctionEntry
from cm_exec.local_runtime.core.job import Lines, LogLine, PostedResult, RuntimeJob, State
from cm_exec.local_runtime.core.worker_status import ProtocolViolation
from cm_exec.local_runtime.feed import News, Subscriber
from cm_exec.local_runtime.listener import connection_of
from cm_exec.local_runtime.protocol_api import ProtocolApi
from cm_exec.local_runtime.worker_files import WorkerFiles

View = dict[str, Any]

INLINE: Final = 1024 * 1024
"""A larger result, in bytes, is offered as a file, and not shown in the page."""
QUERY_SHOWN: Final = 64 * 1024


def job_view(job: RuntimeJob, broker: Broker) -> View:
    """Return a job as it is listed."""
    return {
        "id": job.job_id,
        "number": job.number,
        "function": job.function,
        "state": job.state.value,
        "created": _milliseconds(job.created),
        "started": _milliseconds(job.started),
        "firstByte": _milliseconds(job.first_byte),
        "ended": _milliseconds(job.ended),
        "streaming": job.state is State.RUNNING and broker.body(job.job_id) is not None,
        "queueMs": _duration(job.created, job.started or job.ended),
        "runMs": _duration(job.started, job.ended),
        "queryBytes": len(job.query),
        **_answer_view(job, broker),
        "reason": job.reason,
        "timeoutMs": None if job.submission.timeout is None else round(job.submission.timeout * 1000),
        "userId": job.submission.user_id,
        "attempts": job.attempts,
        "inHand": job.outstanding,
        "replayOf": job.submission.replay_of,
        "breaches": broker.violations_of(job.job_id),
        "logLines": broker.log.of(job.job_id).total,
    }


def _answer_view(job: RuntimeJob, broker: Broker) -> View:
    answer = job.answer
    return {
        "resultBytes": answer.size if answer else None,
        "contentType": answer.content_type if answer else None,
        "streamed": answer.streamed if answer else False,
        "result": _result_view(answer, kept=broker.body(job.job_id) is not None) if answer else None,
        "failure": _failure_view(answer) if answer else None,
    }


def _result_view(answer: PostedResult, *, kept: bool) -> View:
    return {
        "kind": answer.media.kind.value,
        "mediaType": answer.media.media_type,
        "inline": answer.size <= INLINE,
        "kept": kept,
    }


def _failure_view(answer: PostedResult) -> View | None:
    failure = answer.failure
    if failure is None:
        return None
    return {
        "message": failure.message,
        "reason": failure.reason,
        "exitCode": failure.exit_code,
        "signal": failure.signal,
    }


def job_detail(job: RuntimeJob, broker: Broker) -> View:
    """Return a job with its query, its log and its violations."""
    shown = job.query[:QUERY_SHOWN]
    return {
        **job_view(job, broker),
        "query": shown.decode(errors="replace"),
        "queryTruncated": len(shown) < len(job.query),
        "log": [log_view(line) for line in broker.log.of(job.job_id).kept],
        "breachList": [
            violation_view(violation) for violation in broker.ledger.violations if violation.job_id == job.job_id
        ],
    }


def log_view(line: LogLine) -> View:
    """Return a line that a handler or the worker wrote."""
    return {"jobId": line.job_id, "at": _milliseconds(line.at), "line": line.line, "stream": line.stream}


def lines_view(lines: Lines) -> View:
    """Return the lines of a job, or those of no job."""
    return {"log": [log_view(line) for line in lines.kept], "dropped": lines.dropped}


def violation_view(violation: ProtocolViolation) -> View:
    """Return a protocol violation."""
    return {
        "number": violation.number,
        "at": _milliseconds(violation.at),
        "kind": violation.kind.value,
        "message": violation.message,
        "jobId": violation.job_id,
        "function": violation.function,
    }


def functions_view(broker: Broker) -> list[View]:
    """Return all known functions."""
    return [_function_view(entry, broker) for entry in broker.functions.entries]


def _function_view(entry: FunctionEntry, broker: Broker) -> View:
    return {
        "name": entry.name,
        "source": entry.source.value,
        "schema": entry.schema,
        "untyped": entry.untyped,
        "description": entry.description,
        "service": entry.service,
        "calls": calls_view(entry.name, broker),
    }


def calls_view(function: str, broker: Broker) -> View:
    """Return how often a function was called, by how the calls ended."""
    calls = broker.ended_by_function.get(function, Counter())
    return {state.value: calls.get(state, 0) for state in (State.DONE, State.FAILED, State.LOST)}


def queue_view(broker: Broker) -> View:
    """Return how many jobs there are in each state."""
    counts = broker.ledger.counts
    return {**{state.value: counts[state] for state in State}, "inHand": len(broker.ledger.outstanding)}


def worker_view(broker: Broker) -> View:
    """Return what is known of the worker."""
    return {
        "state": broker.polls.state(broker.clock(), len(broker.ledger.outstanding)).value,
        "openPolls": broker.polls.open,
        "polls": broker.polls.total,
        "lastPoll": _milliseconds(broker.polls.last),
        "restarts": len(broker.restarts),
        "process": _process_view(broker),
        "configurationError": broker.configuration_error,
        "services": _services_view(broker),
    }


def _services_view(broker: Broker) -> list[View]:
    jobs = broker.ledger.jobs
    in_hand = Counter(broker.functions.service_of(jobs[job_id].function) for job_id in broker.ledger.outstanding)
    return [
        {
            "name": service.name,
            "kind": service.kind,
            "state": service.state,
            "since": _milliseconds(service.since),
            "processes": service.processes,
            "inHand": in_hand[service.name],
            "lastFailure": service.last_failure,
        }
        for service in broker.services.values()
    ]


def _process_view(broker: Broker) -> View | None:
    process = broker.process
    if process is None:
        return None
    return {
        "state": process.state.value,
        "pid": process.pid,
        "command": process.command,
        "exitCode": process.exit_code,
        "since": _milliseconds(process.since),
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _duration(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 3)


_EVENT_PAUSE: Final = 0.1
_LOOK_SECONDS: Final = 1.0
"""Seconds after which the worker's state is looked at again: that polls stopped is no event."""
_PING_SECONDS: Final = 15.0


class EventStream:
    """The answer to GET /events. `run` names this run of the runtime; `faults` are the faults' texts."""

    def __init__(self, broker: Broker, *, run: str, faults: Callable[[], list[str]]) -> None:
        self._broker = broker
        self._run = run
        self._faults = faults
        self._subscriber = Subscriber()
        self._sent: View = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Implement an ASGI application."""
        headers = [(b"content-type", b"text/event-stream"), NO_STORE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        subscribers = self._broker.feed.subscribers
        subscribers.add(self._subscriber)
        try:
            await self._send(send, _event_text("hello", {"run": self._run, "sequence": 0}))
            await self._follow(scope, send)
        finally:
            subscribers.discard(self._subscriber)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, scope: Scope, send: Send) -> None:
        connection = connection_of(scope)
        last = connection.loop.time()
        while not (connection.gone or self._subscriber.closed):
            await self._subscriber.wait(_LOOK_SECONDS)
            update = self._update(self._subscriber.take())
            if update:
                await self._send(send, _event_text("update", update))
            elif connection.loop.time() - last > _PING_SECONDS:
                await self._send(send, b": ping\n\n")
            else:
                continue
            last = connection.loop.time()
            await asyncio.sleep(_EVENT_PAUSE)

    async def _send(self, send: Send, text: bytes) -> None:
        await send({"type": "http.response.body", "body": text, "more_body": True})

    def _update(self, news: News) -> View:
        broker = self._broker
        update: View = {}
        if news.jobs:
            update["jobs"] = [job_view(job, broker) for job in news.jobs]
            ended = {job.function for job in news.jobs if job.state.final}
            if ended:
                update["calls"] = {function: calls_view(function, broker) for function in ended}
        if news.jobs_omitted:
            update["jobsOmitted"] = news.jobs_omitted
        if news.forgotten:
            update["forgotten"] = news.forgotten
        if news.violations:
            update["breaches"] = [violation_view(violation) for violation in news.violations]
            update["breachCount"] = broker.ledger.violation_count
        if news.logs:
            update["logs"] = [log_view(line) for line in news.logs]
            update["logsDropped"] = news.logs_dropped
        if news.functions:
            update["functions"] = functions_view(broker)
        return update | self._looked_up()

    def _looked_up(self) -> View:
        """Return the parts of the state that differ from what was sent last."""
        now = {
            "queue": queue_view(self._broker),
            "worker": worker_view(self._broker),
            "faults": self._faults(),
        }
        changed = {
            name: value
            for name, value in now.items()
            if _without_poll_counters(value) != _without_poll_counters(self._sent.get(name))
        }
        self._sent |= changed
        return changed


def _without_poll_counters(value: object) -> object:
    """Return a value without the counters that change with every poll."""
    if not isinstance(value, dict) or "lastPoll" not in value:
        return value
    return {name: member for name, member in value.items() if name not in {"lastPoll", "polls", "openPolls"}}


def _event_text(kind: str, data: View) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))


@dataclass(slots=True)
class RuntimeInfo:
    """One run of the runtime, by the name `run`.

    `call_timeout` is the default timeout of callers in seconds, None for no limit; `user_id` and `auth_header` are
    the identity of callers that send none.
    """

    broker: Broker
    api: ProtocolApi
    environment: WorkerFiles
    _: KW_ONLY
    strict: bool
    call_timeout: float | None
    user_id: str | None = None
    auth_header: str | None = field(default=None, repr=False)
    save_test: Callable[[str], str | None] | None = None
    """Adds a `[[tests]]` entry to cm.toml, and returns the file's name; None if it cannot."""
    callers_token: str = field(default="", repr=False)
    """For the curl lines that the console copies."""
    paused: bool = True
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = 0.0

    def fault_texts(self) -> list[str]:
        """Return the faults in force, as they are written."""
        return [format_fault(fault) for fault in self.api.faults.faults]

    def set_faults(self, texts: list[str]) -> None:
        """Replace the faults. Raises FaultSyntaxError, and changes nothing then."""
        self.api.faults.faults = [parse_fault(text) for text in texts]

    def state_view(self) -> View:
        """Return the part of /state that does not change with every job."""
        variables = self.environment.variables()
        return {
            "version": __version__,
            "runtime": {
                "uri": self.environment.url,
                "startedAt": round(self.started * 1000),
                "maxConcurrentTasks": self.environment.slots,
                "strict": self.strict,
                "pollWaitMs": round(self.api.poll_wait * 1000),
                "callTimeoutMs": None if self.call_timeout is None else round(self.call_timeout * 1000),
                "paused": self.paused,
                "faults": self.fault_texts(),
            },
            "environment": variables,
            "token": self.callers_token,
            "userId": self.user_id,
            "savesTests": self.save_test is not None,
        }
