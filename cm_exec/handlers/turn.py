"""One job in a process that lives on: the loop from handing over the query until the result is whole."""

import select
import time

from cm_exec.handlers.exchange import Exchange, Limits, StderrSink, bytes_in
from cm_exec.handlers.framing import OutOfStepError, ResultReader
from cm_exec.handlers.leftovers import GRACE
from cm_exec.handlers.process import Child
from cm_exec.handlers.spool import Spool
from cm_exec.handlers.stop import StopNow
from cm_exec.protocol.failure import Reason

_FIRST_PART = 4096


class Turn(Exchange):
    """An exchange that is over when the result is whole, or when the process has exited without one.

    What a process writes late must not be taken for the answer to its next query. So the query's last byte is held
    back until the process is known to be reading: it has read all the rest, or is seen to be blocked in read(2). What
    it wrote before is then in the pipe, and if that is a result, the process is out of step and the job is not given
    to it (`given` stays False): another can have it. That holds for every process that reads and writes on one
    thread; others have the envelope.

    What comes before the end of the query can only be the query itself: `cat` is a handler, too.
    """

    def __init__(
        self,
        child: Child,
        spool: Spool,
        limits: Limits,
        stderr: StderrSink,
        stop: StopNow,
        *,
        frame: bytes,
        reader: ResultReader,
    ) -> None:
        super().__init__(child, spool, limits, stderr, stop)
        self._held_back = frame
        self._reader = reader
        self._echo = b""
        self.given = False

    def _begin(self) -> None:
        self._events.register(self._stop.fileno(), select.POLLIN)
        is_reading = self._child.waits_for_input() or not self._child.narrow_stdin()
        if bytes_in(self._child.result):
            self._over = True
        elif is_reading:
            self._give()
        else:
            self._give_first_part()

    def _give_first_part(self) -> None:
        first = self._held_back[: min(_FIRST_PART, len(self._held_back) - 1)]
        self._held_back = self._held_back[len(first) :]
        self._echo = first
        self._child.send(first)
        self._events.register(self._child.stdin, select.POLLOUT)  # in a pipe of one page: when it has read all of it

    def _stdin_ready(self) -> None:
        if self.given:
            super()._stdin_ready()
            return
        self._events.unregister(self._child.stdin)
        self._drain(self._child.result, self._take_result)
        if not self._over:
            self._give()

    def _give(self) -> None:
        """Hand over what was held back; one that ends just now does not take it."""
        self._child.send(self._held_back)
        self.given = len(self._child.unsent) < len(self._held_back)
        self._held_back = b""
        if self.given and self._child.unsent:
            self._child.widen_stdin()
            self._events.register(self._child.stdin, select.POLLOUT)

    def _input_sent(self) -> None:
        """More queries will follow."""

    def _exited(self) -> None:
        super()._exited()
        if self._status is not None and self._child.unsent:
            self._child.unsent = memoryview(b"")

    def _result_closed(self) -> None:
        """No result can come any more: the process exits now, or is ended."""
        self._if_late = (Reason.OUT_OF_STEP, "no result, and closed its result channel")
        self._deadline = min(self._deadline, time.monotonic() + GRACE)

    def _take_result(self, chunk: bytes) -> None:
        if self._cause is not None:
            return
        if not self.given and not self._is_echo(chunk):
            self._over = True
            return
        try:
            super()._take_result(self._reader.feed(chunk))
            if self._reader.is_complete and self._cause is None:
                self._check_step()
                self._over = True
        except OutOfStepError as error:
            if not self.given:
                self._over = True
                return
            self._over = self._status is not None
            self._end(Reason.OUT_OF_STEP, str(error))

    def _is_echo(self, chunk: bytes) -> bool:
        """All of the first part at once: fewer bytes could as well be the rest of something else."""
        first, self._echo = self._echo, b""
        return chunk == first

    def _check_step(self) -> None:
        if self._child.unsent or bytes_in(self._child.stdin):
            raise OutOfStepError("a result before it had read its query")
