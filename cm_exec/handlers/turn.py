"""One job in a process that lives on: the loop until its result is whole."""

from cm_exec.handlers.exchange import Exchange, Limits, StderrSink, bytes_in
from cm_exec.handlers.framing import OutOfStepError, ResultReader
from cm_exec.handlers.process import Child
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.failure import Reason


class Turn(Exchange):
    """An exchange that is over when the result is whole, or when the process has exited without one.

    A result that comes before the process has read its query, or with something behind it, is not the answer to
    this query: the process is out of step, and is ended.
    """

    def __init__(
        self,
        child: Child,
        spool: Spool,
        limits: Limits,
        stderr: StderrSink,
        stop: StopNow,
        *,
        reader: ResultReader,
    ) -> None:
        super().__init__(child, spool, limits, stderr, stop)
        self._reader = reader

    def _input_sent(self) -> None:
        """More queries will follow."""

    def _exited(self) -> None:
        super()._exited()
        if self._status is not None and self._child.unsent:
            self._child.unsent = memoryview(b"")

    def _take_result(self, chunk: bytes) -> None:
        if self._cause is not None:
            return
        try:
            super()._take_result(self._reader.feed(chunk))
            if self._reader.is_complete and self._cause is None:
                self._check_step()
                self._over = True
        except OutOfStepError as error:
            self._over = self._status is not None
            self._end(Reason.OUT_OF_STEP, str(error))

    def _check_step(self) -> None:
        if self._child.unsent or bytes_in(self._child.stdin):
            raise OutOfStepError("a result before it had read its query")
