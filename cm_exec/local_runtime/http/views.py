"""The runtime's values as the JSON of its API for callers. Times are milliseconds since the epoch there."""

from collections import Counter
from typing import Any, Final

from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.core.functions import FunctionEntry
from cm_exec.local_runtime.core.job import PostedResult, RuntimeJob
from cm_exec.local_runtime.core.job_log import Lines, LogLine
from cm_exec.local_runtime.core.lifecycle import State
from cm_exec.local_runtime.core.violation import ProtocolViolation

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
    }


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
