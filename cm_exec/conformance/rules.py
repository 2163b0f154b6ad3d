"""The rules: what the platform does, or may do, and what a worker must make of it.

Each is a function that plays one situation on a stage and returns what the worker did. It raises RuleBrokenError if
that is wrong.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cm_exec.conformance.stage import RuleBrokenError, Stage
from cm_exec.local_runtime.core.faults import Fault, FaultKind, ProtocolEndpoint
from cm_exec.local_runtime.core.worker_status import ViolationKind
from cm_exec.text import count_text

_SETTLE: Final = 1.0
"""Seconds after a result in which a worker that takes it for refused posts it again."""
_POLLS_A_SECOND: Final = 5

Play = Callable[[Stage], str]


@dataclass(frozen=True, slots=True)
class ProtocolRule:
    """One rule. `text` is a sentence about a worker; `options` are those of the runtime."""

    name: str
    text: str
    play: Play
    options: Mapping[str, Any] = field(default_factory=dict)


RULES: Final[list[ProtocolRule]] = []


def _rule(text: str, **options: Any) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        RULES.append(ProtocolRule(play.__name__.strip("_").replace("_", "-"), text, play, options))
        return play

    return add


@_rule("answers each job once, with its own result, as application/octet-stream")
def _one_answer_each(stage: Stage) -> str:
    stage.ready()
    values = [{"number": number, "text": "é\u2028\n"} for number in range(20)]
    calls = [stage.submit(value) for value in values]
    for call, value in zip(calls, values, strict=True):
        stage.expect_echo(call, value)
    if stage.runtime.violations:
        raise RuleBrokenError("; ".join(sorted({each.message for each in stage.runtime.violations})))
    return "answered 20 of 20"


@_rule("takes any JSON value as a query")
def _any_json(stage: Stage) -> str:
    stage.ready()
    values: list[Any] = [2, "text", [1, [2]], None, False, {"a": {"b": []}}]
    for value in values:
        stage.expect_echo(stage.submit(value), value)
    return "echoed a number, a string, an array, null, false and an object"


@_rule("passes 4 MiB through")
def _large_query(stage: Stage) -> str:
    stage.ready()
    value = {"data": "x" * (4 * 1024 * 1024)}
    stage.expect_echo(stage.submit(value), value)
    return "echoed all of it"


@_rule("answers a job for a function that it does not have")
def _unknown_function(stage: Stage) -> str:
    stage.ready()
    found = stage.answer(stage.submit({}, function="no_such_function"))
    stage.echo()
    return f"answered {found[:60].decode(errors='replace')!r}"


@_rule("takes jobs without `type` and with members that it does not know")
def _unusual_envelope(stage: Stage) -> str:
    stage.ready()
    job_id = str(uuid.uuid4())
    job = {"jobId": job_id, "queryType": "echo", "query": {"a": 1}, "ofTheFuture": {"x": []}}
    call = stage.runtime.answer_next_poll_with(json.dumps({"computeModuleJobV1": job}).encode(), expect=job_id)
    stage.expect_echo(call, {"a": 1})
    return "answered it"


@_rule("goes on after a response that is no job")
def _garbage_job(stage: Stage) -> str:
    stage.ready()
    stage.runtime.answer_next_poll_with(b'{"computeModuleJobV1": {"jobId": 7, "queryTy')
    stage.echo()
    return "answered the next job"


@_rule("takes any 2xx for success: the plain API answers 202")
def _result_202(stage: Stage) -> str:
    stage.runtime.inject(
        Fault(kind=FaultKind.STATUS, endpoint=ProtocolEndpoint.RESULT, status=202, processed=True, remaining=1)
    )
    stage.ready()
    stage.echo()
    if repeats := _repeated_posts(stage):
        raise RuleBrokenError(f"took 202 for a failure, and posted {count_text(repeats, 'more time')}")
    return "posted once"


def _repeated_posts(stage: Stage) -> int:
    time.sleep(_SETTLE)
    return stage.results() - 1


@_rule("posts a result again after 503, and does not replace it by an error")
def _result_503(stage: Stage) -> str:
    return _delivery_despite(stage, "result.503*2")


def _delivery_despite(stage: Stage, fault: str) -> str:
    stage.runtime.set_faults(fault)
    stage.ready()
    stage.echo(seconds=20)
    return _delivered(stage)


def _delivered(stage: Stage) -> str:
    return f"delivered it with {count_text(stage.results(), 'post')}"


@_rule("pauses between posts, so that an outage of a second loses no result")
def _result_outage(stage: Stage) -> str:
    stage.runtime.set_faults("result.503")
    stage.ready()
    value = {"value": 1}
    call = stage.submit(value)
    stage.wait(lambda: stage.results() > 0, "posted nothing")
    time.sleep(1.0)
    stage.runtime.set_faults()
    stage.expect_echo(call, value, seconds=20)
    return _delivered(stage)


@_rule("posts a result again after a connection that was reset")
def _result_reset(stage: Stage) -> str:
    return _delivery_despite(stage, "result.reset*1")


@_rule("goes on after a result whose response was lost")
def _response_lost(stage: Stage) -> str:
    _delivery_despite(stage, "result.lost*1")
    stage.echo(seconds=20)
    return "answered the next job"


@_rule("answers with an error if the runtime refuses a result as too large", max_result=1024 * 1024)
def _result_413(stage: Stage) -> str:
    stage.ready()
    found = stage.answer(stage.submit({"data": "x" * (2 * 1024 * 1024)}), seconds=20)
    if not found.strip() or b"x" * 100 in found:
        raise RuleBrokenError(f"answered with {'a part of the result' if found.strip() else 'nothing'}, and no error")
    return f"answered with an error of {count_text(len(found), 'byte')}"


@_rule("waits for a slow response instead of posting twice")
def _slow_response(stage: Stage) -> str:
    _delivery_despite(stage, "result.latency=8*1")
    if repeats := _repeated_posts(stage):
        raise RuleBrokenError(f"posted the result {repeats + 1} times")
    return "waited 8 s, and posted once"


@_rule("goes on polling while a job is at work", max_concurrent_tasks=2)
def _polls_while_busy(stage: Stage) -> str:
    stage.ready()
    stage.runtime.set_faults("result.latency=2*1")
    call = stage.submit({"value": 1})
    stage.wait(lambda: bool(stage.runtime.jobs[0].outstanding and stage.runtime.open_polls) or call.done, "did neither")
    if call.done:
        raise RuleBrokenError("did not poll until it had answered")
    stage.expect_echo(call, {"value": 1})
    return "had a poll open"


@_rule("answers more jobs than it has slots, if it gets them", max_concurrent_tasks=2, strict=False)
def _more_jobs_than_slots(stage: Stage) -> str:
    stage.ready()
    calls = [(stage.submit({"n": number}), {"n": number}) for number in range(8)]
    for call, value in calls:
        stage.expect_echo(call, value)
    return "answered 8 of 8"


@_rule("does not spin while polls fail with 503")
def _poll_503(stage: Stage) -> str:
    stage.ready()
    stage.runtime.set_faults("poll.503")
    call = stage.submit({"value": 1})
    before, seconds = stage.polls(), 3.0
    time.sleep(seconds)
    rate = (stage.polls() - before) / seconds
    stage.runtime.set_faults()
    stage.expect_echo(call, {"value": 1}, seconds=20)
    if rate > _POLLS_A_SECOND:
        raise RuleBrokenError(f"polled {rate:.0f} times a second")
    return f"polled {rate:.1f} times a second, and went on afterwards"


@_rule("goes on after connections that break while it polls")
def _poll_reset(stage: Stage) -> str:
    stage.ready()
    stage.runtime.set_faults("poll.reset*3")
    stage.echo(seconds=30)
    return "answered the next job"


@_rule("gets a job again if its delivery was cut, and answers it once")
def _cut_delivery(stage: Stage) -> str:
    _delivery_despite(stage, "poll.cut=60*1")
    if any(each.kind is ViolationKind.ANSWERED_TWICE for each in stage.runtime.violations):
        raise RuleBrokenError("answered it twice")
    return "answered it once"


@_rule("survives two seconds without a runtime")
def _outage(stage: Stage) -> str:
    stage.ready()
    stage.runtime.pause()
    time.sleep(2.0)
    stage.runtime.resume()
    stage.echo(seconds=20)
    return "answered the next job"


@_rule("waits for a runtime that is up two seconds later", listen=False)
def _late_runtime(stage: Stage) -> str:
    stage.start()
    time.sleep(2.0)
    stage.runtime.resume()
    stage.echo(seconds=20)
    return "connected once it was up"


@_rule("waits for files that are written five seconds later")
def _late_files(stage: Stage) -> str:
    files = stage.runtime.files
    for path in (files.token_file, files.ca_file, files.connection_file):
        path.unlink()
    stage.start()
    time.sleep(5.0)
    stage.runtime.write_files()
    stage.echo(seconds=20)
    return "connected once they were there"


@_rule("reads the token again after 401")
def _token_rotation(stage: Stage) -> str:
    stage.ready()
    stage.echo()
    stage.runtime.rotate_token()
    stage.echo(seconds=20)
    return "sent the new token"


@_rule("notifies of a restart once, before its first poll, so that lost jobs free their slots")
def _restart(stage: Stage) -> str:
    stage.ready()
    stage.runtime.set_faults("result.hang*1")
    lost = stage.submit({"value": 1})
    stage.wait(lambda: bool(stage.runtime.jobs[0].outstanding), "did not take the job")
    stage.kill()
    stage.runtime.set_faults()
    known = len(stage.runtime.restarts)
    stage.ready()
    notified = stage.runtime.restarts[known:]
    if not notified:
        raise RuleBrokenError("did not notify: the job that it lost holds its slot for ever")
    if lost.job_id not in notified[0].dropped:
        raise RuleBrokenError("notified after the runtime had forgotten the job")
    stage.echo()
    if len(stage.runtime.restarts) > known + 1:
        raise RuleBrokenError("notified again while it had jobs")
    return "notified once, and answered the next job"


@_rule("starts although the restart notification fails with 500")
def _restart_500(stage: Stage) -> str:
    stage.runtime.set_faults("restart.500")
    stage.start()
    stage.echo(seconds=20)
    return "polled all the same"


@_rule("posts its schemas as a JSON array, if at all")
def _schemas(stage: Stage) -> str:
    stage.ready()
    stage.echo()
    wrong = [each.message for each in stage.runtime.violations if each.kind is ViolationKind.INVALID_SCHEMA]
    if wrong:
        raise RuleBrokenError("; ".join(wrong))
    return f"posted {count_text(len(stage.runtime.schemas), 'time')}"


@_rule("ends with status 0 after SIGTERM")
def _sigterm(stage: Stage) -> str:
    stage.ready()
    stage.echo()
    stage.worker.drain()
    return f"ended after {stage.expect_exit_0():.1f} s"


@_rule("delivers the result of its job after SIGTERM, also if that needs a second post")
def _sigterm_with_a_job(stage: Stage) -> str:
    stage.ready()
    stage.runtime.set_faults("result.latency=1*1", "result.503*1")
    call = stage.submit({"value": 1})
    stage.wait(lambda: bool(stage.runtime.jobs[0].outstanding), "did not take the job")
    stage.worker.drain()
    stage.worker.wait(35.0)
    if not call.done:
        raise RuleBrokenError("ended, and the job was never answered")
    stage.expect_echo(call, {"value": 1})
    stage.expect_exit_0()
    return "delivered it, then ended with status 0"
