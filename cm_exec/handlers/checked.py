"""A handler whose queries and results are held to the function's declared types."""

from collections.abc import Iterator
from contextlib import contextmanager

from cm_exec.config.types import Function
from cm_exec.handlers.contract import Contract
from cm_exec.handlers.exchange import StderrSink
from cm_exec.handlers.handler import Handler, Outcome, Result
from cm_exec.protocol.failure import Failure, Reason
from cm_exec.protocol.job import Job


class CheckedHandler:
    """Stands before the handler of any mode; what passes is handed on byte for byte."""

    def __init__(self, function: Function, handler: Handler) -> None:
        self._function = function
        self._handler = handler
        self._contract = Contract(function)

    def open(self) -> None:
        """See Handler."""
        self._handler.open()

    def close(self) -> None:
        """See Handler."""
        self._handler.close()

    @contextmanager
    def run(self, job: Job, stderr: StderrSink) -> Iterator[Outcome]:
        """Run one job, if its query is as declared; see Handler."""
        if self._function.check_queries and (problem := self._contract.query_problem(job.query)) is not None:
            message = f"the query does not fit the inputs of {self._function.name!r}: {problem}"
            yield Failure(reason=Reason.INVALID_QUERY, message=message)
            return
        with self._handler.run(job, stderr) as outcome:
            yield self._checked(outcome)

    def _checked(self, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Result) or not self._function.check_results:
            return outcome
        problem = self._contract.result_problem(outcome.spool.getvalue())
        if problem is None:
            return outcome
        message = f"the result of {self._function.name!r} is not what it returns: {problem}"
        return Failure(reason=Reason.INVALID_OUTPUT, message=message)
