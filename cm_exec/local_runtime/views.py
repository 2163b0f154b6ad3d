"""The runtime's values as the JSON of its API for callers, and a job as a test of cm.toml.

Times are milliseconds since the epoch.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from cm_exec import __version__
from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.call import ResultSpool
from cm_exec.local_runtime.core import Lines, LogLine, PostedResult, RuntimeJob, State
from cm_exec.local_runtime.core.faults import FaultPlan
from cm_exec.local_runtime.core.functions import FunctionEntry
from cm_exec.local_runtime.core.worker_status import ProtocolViolation
from cm_exec.local_runtime.feed import News
from cm_exec.local_runtime.protocol_api import ProtocolApi
from cm_exec.local_runtime.worker_files import WorkerFiles
from cm_exec.protocol.failure import Reason
from cm_exec.protocol.json_text import json_problem
from cm_exec.text import toml_value

View = dict[str, Any]

INLINE: Final = 1024 * 1024
"""A larger result, in bytes, is offered as a file, and not shown in the page."""
QUERY_SHOWN: Final = 64 * 1024


def job_view(job: RuntimeJob, broker: Broker) -> View:
    """Return a job as it is listed."""
    submission, answer = job.submission, job.answer
    is_kept = broker.body(job.job_id) is not None
    return {
        "id": job.job_id,
        "number": job.number,
        "function": job.function,
        "state": job.state,
        "created": _milliseconds(job.created),
        "started": _milliseconds(job.started),
        "firstByte": _milliseconds(job.first_byte),
        "ended": _milliseconds(job.ended),
        "streaming": job.state is State.RUNNING and is_kept,
        "queueMs": _duration(job.created, job.started or job.ended),
        "runMs": _duration(job.started, job.ended),
        "queryBytes": len(job.query),
        "resultBytes": answer and answer.size,
        "contentType": answer and answer.content_type,
        "streamed": answer is not None and answer.streamed,
        "result": answer and _result_view(answer, is_kept=is_kept),
        "failure": answer and answer.failure,
        "reason": job.reason,
        "timeoutMs": None if submission.timeout is None else round(submission.timeout * 1000),
        "userId": submission.user_id,
        "attempts": job.attempts,
        "inHand": job.outstanding,
        "replayOf": submission.replay_of,
        "breaches": broker.violations_of[job.job_id],
        "logLines": broker.log.of(job.job_id).total,
    }


def _result_view(answer: PostedResult, *, is_kept: bool) -> View:
    media = answer.media
    return {
        "kind": media.kind,
        "mediaType": media.media_type,
        "inline": answer.size <= INLINE,
        "kept": is_kept,
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
    return _members(line, "at")


def lines_view(lines: Lines) -> View:
    """Return the lines of a job, or those of no job."""
    return {"log": [log_view(line) for line in lines.kept], "dropped": lines.dropped}


def violation_view(violation: ProtocolViolation) -> View:
    """Return a protocol violation."""
    return _members(violation, "at")


def functions_view(broker: Broker) -> list[View]:
    """Return all known functions."""
    return [_function_view(entry, broker) for entry in broker.functions.entries]


def _function_view(entry: FunctionEntry, broker: Broker) -> View:
    return {
        "name": entry.name,
        "source": entry.source,
        "schema": entry.schema,
        "untyped": entry.untyped,
        "description": entry.info.description,
        "service": entry.info.service,
        "calls": calls_view(entry.name, broker),
    }


def calls_view(function: str, broker: Broker) -> View:
    """Return how often a function was called, by how the calls ended."""
    calls = broker.ended_by_function.get(function, Counter())
    return {state: calls[state] for state in (State.DONE, State.FAILED, State.LOST)}


def queue_view(broker: Broker) -> View:
    """Return how many jobs there are in each state."""
    counts = broker.ledger.counts
    return {**{state.value: counts[state] for state in State}, "inHand": len(broker.ledger.outstanding)}


def worker_view(broker: Broker) -> View:
    """Return what is known of the worker."""
    worker, jobs = broker.worker, broker.ledger.jobs
    process = worker.process
    in_hand = Counter(broker.functions.service_of(jobs[job_id].function) for job_id in broker.ledger.outstanding)
    return {
        "state": broker.worker_state(),
        "openPolls": worker.polls.open,
        "polls": worker.polls.total,
        "lastPoll": _milliseconds(worker.polls.last),
        "restarts": len(broker.restarts),
        "process": process and _members(process, "since"),
        "configurationError": worker.configuration_error,
        "services": [{**_members(each, "since"), "inHand": in_hand[each.name]} for each in worker.services.values()],
    }


def _members(value: msgspec.Struct, time: str) -> View:
    """Return a value's members. `time` is the one in seconds."""
    members: View = msgspec.to_builtins(value)
    return members | {time: _milliseconds(members[time])}


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _duration(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 3)


class UpdateView:
    """What a subscriber is sent: the news, and what differs from the state that it was sent last."""

    def __init__(self, broker: Broker, faults: FaultPlan) -> None:
        self._broker = broker
        self._faults = faults
        self._sent: View = {}

    def __call__(self, news: News) -> View:
        """Return the update, empty if there is none."""
        broker = self._broker
        update: View = {}
        if jobs := news.jobs:
            update["jobs"] = [job_view(job, broker) for job in jobs]
            ended = {job.function for job in jobs if job.state.final}
            if ended:
                update["calls"] = {function: calls_view(function, broker) for function in ended}
        if news.jobs_omitted:
            update["jobsOmitted"] = news.jobs_omitted
        if news.forgotten:
            update["forgotten"] = list(news.forgotten)
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
            "faults": self._faults.texts,
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


_LARGEST_TEST: Final = 64 * 1024


class InvalidTestError(Exception):
    """Raised for a job that cannot be saved as a test. Its text gives the reason."""


def test_entry(job: RuntimeJob, body: ResultSpool | None) -> str:
    """Return the job as a `[[tests]]` entry of cm.toml. Raises InvalidTestError."""
    if job.answer is None or body is None:
        raise InvalidTestError(f"the job is {job.state}, and has no result that a test could expect")
    if max(len(job.query), body.size) > _LARGEST_TEST:
        raise InvalidTestError(
            "query or result is over 64 KiB: save them as files, and name them as query_file and result_file in a test"
        )
    name = f"{job.function} #{job.number}"
    lines = ["[[tests]]", f"function = {toml_value(job.function)}", f"name = {toml_value(name)}"]
    lines.append(f"query_json = {toml_value(job.query.decode(errors='replace'))}")
    result = body.content()
    if job.answer.failure is not None:
        reason = job.answer.failure.reason
        known = reason in set(Reason)
        message = job.answer.failure.message
        failed = f"error = {toml_value(reason)}" if known else f"error_contains = {toml_value(message)}"
        return "\n".join([*lines, failed]) + "\n"
    try:
        text = result.decode()
    except UnicodeDecodeError:
        raise InvalidTestError(
            "the result is not text: save it as a file, and name it as result_file in a test"
        ) from None
    key = "result_json" if json_problem(result) is None else "result_text"
    return "\n".join([*lines, f"{key} = {toml_value(text)}"]) + "\n"


CONSOLE: Final = Path(__file__).with_name("console")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerOptions:
    """The port for callers, and what applies to their calls.

    `token` is used instead of that of the runtime's folder. `timeout` is the default in seconds, None for no limit;
    `user_id` and `auth_header` are those of callers that send none. `save_test` adds a `[[tests]]` entry to cm.toml,
    and returns the file's name, None if the file cannot be written; it raises InvalidTestError.
    """

    port: int = 0
    token: str | None = field(default=None, repr=False)
    timeout: float | None = 60.0
    user_id: str | None = None
    auth_header: str | None = field(default=None, repr=False)
    save_test: Callable[[str], str | None] | None = None
    console: Path = CONSOLE


@dataclass(slots=True)
class RuntimeInfo:
    """One run of the runtime, by the name `run`."""

    broker: Broker
    api: ProtocolApi
    files: WorkerFiles
    options: CallerOptions
    paused: bool = True
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = 0.0

    @property
    def token(self) -> str:
        """The token of callers."""
        return self.options.token or self.files.identity.callers_token

    def state_view(self) -> View:
        """Return the part of /state that does not change with every job."""
        return {
            "version": __version__,
            "runtime": {
                "uri": self.files.url,
                "startedAt": round(self.started * 1000),
                "maxConcurrentTasks": self.files.slots,
                "strict": self.broker.ledger.limits.slots is not None,
                "pollWaitMs": round(self.api.poll_wait * 1000),
                "callTimeoutMs": self.options.timeout and round(self.options.timeout * 1000),
                "paused": self.paused,
                "faults": self.api.faults.texts,
            },
            "environment": self.files.variables(),
            "token": self.token,
            "userId": self.options.user_id,
            "savesTests": self.options.save_test is not None,
        }
