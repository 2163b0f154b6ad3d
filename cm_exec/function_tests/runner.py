"""Runs tests side by side, each as a job through its function's own handler."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cm_exec.config import Function
from cm_exec.function_tests.case import Case
from cm_exec.function_tests.group import Group, group_key
from cm_exec.function_tests.judgement import Complaint, judge
from cm_exec.function_tests.stderr_tail import StderrTail
from cm_exec.handlers.handler import Outcome, Stream, Surroundings
from cm_exec.handlers.modes import shares
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job
from cm_exec.worker.job_queue import JobQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A test that has run: in `seconds`, with the end of its stderr, and what is wrong if something is."""

    case: Case
    seconds: float
    complaint: Complaint | None
    stderr: bytes


class Runner:
    """Runs each case once, in the order of the file as far as there are slots.

    `tell` is called when a test has ended, from several threads. With `fail_fast` no test is started after one has
    failed; none is either after `surroundings.stop` is set, and those that run are ended and not told of.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        cases: Sequence[Case],
        surroundings: Surroundings,
        *,
        slots: int,
        fail_fast: bool,
        tell: Callable[[Ran], None],
    ) -> None:
        self._surroundings = surroundings
        self._slots = min(slots, len(cases))
        self._fail_fast = fail_fast
        self._tell = tell
        self._jobs = {_job_id(): case for case in cases}
        self._groups = {
            key: Group(functions[key[0]], key[1], surroundings, tests=number, slots=self._slots)
            for key, number in Counter(map(group_key, cases)).items()
        }
        self._queue = JobQueue(shares(functions.values()))
        self._enough = False
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Run all and return when every process has ended."""
        for job_id, case in self._jobs.items():
            self._queue.put(Job(job_id=job_id, query_type=case.test.function, query=case.query))
        self._queue.close()
        threads = [threading.Thread(target=self._work, name=f"slot-{n}", daemon=True) for n in range(self._slots)]
        try:
            _run_all(threads)
        finally:
            for group in self._groups.values():
                group.close()
        for error in self._errors:
            raise error

    def _work(self) -> None:
        while (job := self._queue.take()) is not None:
            try:
                if isinstance(job, Job) and not (self._enough or self._surroundings.stop.is_set):
                    self._run(job, self._jobs[job.job_id])
            except BaseException as error:  # noqa: BLE001 - raised again by run()
                self._errors.append(error)
                self._enough = True
            finally:
                self._queue.done(job)

    def _run(self, job: Job, case: Case) -> None:
        group, stderr = self._groups[group_key(case)], StderrTail()
        with group.handler() as handler:
            started = time.monotonic()
            with handler.run(job, stderr.write) as outcome:
                ended = _ended(outcome)
            seconds = time.monotonic() - started
        if self._surroundings.stop.is_set:
            return
        complaint = judge(case, group.function, ended, stderr.getvalue())
        if complaint is not None and self._fail_fast:
            self._enough = True
        self._tell(Ran(case=case, seconds=seconds, complaint=complaint, stderr=stderr.getvalue()))


def _run_all(threads: Collection[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _ended(outcome: Outcome) -> bytes | Failure:
    if isinstance(outcome, Stream):
        outcome = outcome.ended()
    return outcome if isinstance(outcome, Failure) else outcome.spool.getvalue()


def _job_id() -> str:
    return f"test-{os.urandom(8).hex()}"
