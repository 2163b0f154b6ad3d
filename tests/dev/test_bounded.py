"""The size of results, logs and events that the runtime stores is limited."""

import gc
from pathlib import Path

from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.call import ResultCache, ResultSpool
from cm_exec.local_runtime.core import (
    LINES_A_JOB,
    LONGEST_LINE,
    Evicted,
    JobLog,
    Limits,
    LogLine,
    RuntimeJob,
    State,
    Submission,
    shortened,
)
from cm_exec.local_runtime.core.worker_status import ProtocolViolation, ViolationKind
from cm_exec.local_runtime.feed import JOBS_AT_ONCE, Notice, Subscriber


def spool(folder: Path, content: bytes, *, in_memory: int = 100) -> ResultSpool:
    filled = ResultSpool(folder, in_memory=in_memory)
    filled.append(content)
    filled.finish()
    return filled


def _open_files() -> int:
    gc.collect()  # also what other tests left
    return len(list(Path("/proc/self/fd").iterdir()))


def test_small_body(tmp_path: Path) -> None:
    """A small body stays in memory."""
    small = spool(tmp_path, b"abc")
    assert (small.content(), small.read(1, 1), small.read(3)) == (b"abc", b"b", b"")


def test_large_body(tmp_path: Path) -> None:
    """A large body goes to a file without a name, which is closed with the body."""
    before = _open_files()
    large = spool(tmp_path, b"x" * 50)
    large.append(b"y" * 100)
    assert large.content() == b"x" * 50 + b"y" * 100
    assert large.read(49, 2) == b"xy"
    assert list(tmp_path.iterdir()) == []
    assert _open_files() == before + 1
    del large
    assert _open_files() == before


def test_result_cache(tmp_path: Path) -> None:
    """The oldest results are removed when the cache has too many bytes."""
    shelf = ResultCache(budget=100)
    for job_id in "abc":
        shelf.put(job_id, spool(tmp_path, b"x" * 40))
    assert [shelf.get(job_id) is not None for job_id in "abc"] == [False, True, True]
    shelf.put("huge", spool(tmp_path, b"x" * 1000))
    assert [shelf.get(job_id) is not None for job_id in ("b", "c", "huge")] == [False, False, True]
    shelf.drop("huge")
    shelf.put("d", spool(tmp_path, b"x" * 60))
    shelf.put("e", spool(tmp_path, b"x" * 40))
    assert [shelf.get(job_id) is not None for job_id in "de"] == [True, True]


def log_line(number: int) -> LogLine:
    return LogLine(job_id="a", at=number, line=str(number), stream="stderr")


def test_log_of_a_job() -> None:
    """The last lines of a job are kept, and the others are counted."""
    log = JobLog()
    for number in range(LINES_A_JOB + 3):
        log.add(log_line(number))
    lines = log.of("a")
    assert (lines.kept[0].line, len(lines.kept), lines.dropped, lines.total) == ("3", LINES_A_JOB, 3, LINES_A_JOB + 3)
    log.forget("a")
    assert (len(log.of("a").kept), log.of("a").dropped) == (0, 0)


def test_long_line() -> None:
    """A long line is shortened."""
    assert shortened("short\r\n") == "short"
    assert shortened("x" * (LONGEST_LINE + 1)) == "x" * LONGEST_LINE + f"… ({LONGEST_LINE + 1} characters)"


def job(number: int, state: State = State.QUEUED) -> RuntimeJob:
    return RuntimeJob(
        job_id=str(number), number=number, submission=Submission(function="f", query=b"1"), state=state, created=0
    )


def test_slow_reader() -> None:
    """A slow reader gets the latest state of each job."""
    subscriber = Subscriber()
    for state in (State.QUEUED, State.RUNNING, State.DONE):
        subscriber.publish(job(1, state))
    news = subscriber.take()
    assert [changed.state for changed in news.jobs] == [State.DONE]
    assert subscriber.take().jobs == []


def test_many_changed_jobs() -> None:
    """A subscriber gets the newest of many changed jobs, and the number of the others."""
    subscriber = Subscriber()
    for number in range(10_000):
        subscriber.publish(job(number))
    news = subscriber.take()
    assert [changed.number for changed in news.jobs] == list(range(10_000 - JOBS_AT_ONCE, 10_000))
    assert news.jobs_omitted == 10_000 - JOBS_AT_ONCE


def test_evicted_job() -> None:
    """A job that was evicted is not reported as changed."""
    subscriber = Subscriber()
    subscriber.publish(job(1))
    subscriber.publish(Evicted(job_id="1"))
    news = subscriber.take()
    assert (news.jobs, list(news.forgotten)) == ([], ["1"])


def test_omitted_lines() -> None:
    """A subscriber gets log lines and protocol violations, and the number of those omitted."""
    subscriber = Subscriber()
    for number in range(600):
        subscriber.publish(log_line(number))
    violation = ProtocolViolation(number=1, at=0, kind=ViolationKind.LATE, message="late")
    subscriber.publish(violation)
    news = subscriber.take()
    assert (len(news.logs), news.logs_dropped, list(news.violations)) == (500, 100, [violation])


def test_all_subscribers(tmp_path: Path) -> None:
    """Every subscriber gets each change."""
    broker = Broker(directory=tmp_path, limits=Limits())
    watching = [Subscriber(), Subscriber()]
    broker.subscribers.update(watching)
    broker.publish(job(1))
    broker.publish(Notice.FUNCTIONS)
    broker.publish(Notice.END)
    assert all(subscriber.closed for subscriber in watching)
    assert [(len(news.jobs), news.functions) for news in (subscriber.take() for subscriber in watching)] == [
        (1, True)
    ] * 2
