"""Stay in step with a process that serves one job after another, as pure state machines: no I/O and no clock.

Theory of operation, without an envelope. Nothing in an answer says which query it belongs to, so two rules keep an
answer from reaching another job:

- Output that was left over must not be read as this job's result. So the last byte of a query is withheld until the
  process is known to be reading: it is seen to be blocked in a read of its stdin, or it has read everything before
  that byte. Output up to this point means that the process is out of step; it never had the whole query, and another
  process can have the job. One exception: `cat` echoes the first part before it has the rest.
- A debug line before the result must not become the result. So a complete message is only accepted when the process
  is seen to wait for its next query, or after it has been silent for a moment. A second message makes an error.

Both rules hold for a process that reads and writes on one thread. Others need the envelope, where each answer names
its job, and several jobs can be in one process.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from cm_exec.handlers.framing import DesyncError, Message, MessageReader, parse_message

FIRST_PART: Final = 4096
"""Bytes that are sent before the process is known to read: what a pipe of one page takes."""


class Step(Enum):
    """Where a process is with its job."""

    IDLE = auto()
    OFFERED = auto()
    """The first part of the query is sent, the last byte is withheld."""
    SENT = auto()
    """The whole query is sent; a result may come."""
    COMPLETE = auto()
    """A complete message has come; the process is not yet known to wait for its next query."""
    ACCEPTED = auto()
    OUT_OF_STEP = auto()


class StepState:
    """One job at a time, without an envelope.

    `problem` completes "the process wrote ..." when it is out of step; `excerpt` is output that is in no result.
    `was_given` says whether the process had the
    whole query; if not, another process can have the job.
    """

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self.step = Step.IDLE
        self.was_given = False
        self.is_waiting = False
        self.problem = ""
        self.excerpt = b""
        self._withheld = b""
        self._echo = b""

    @property
    def progress(self) -> str:
        """How much of a message has come."""
        return self._reader.progress()

    def begin(self, frame: bytes, *, is_waiting: bool) -> bytes:
        """Start a job; return what to send now. Call `ready` when the process has read it."""
        self.was_given = False
        self.problem, self.excerpt = "", b""
        if is_waiting or self.is_waiting:
            self._give()
            return frame
        first = frame[: min(FIRST_PART, len(frame) - 1)]
        self.step, self._withheld, self._echo = Step.OFFERED, frame[len(first) :], first
        return first

    def ready(self) -> bytes:
        """Note that the process has read the first part; return the rest."""
        if self.step is not Step.OFFERED:
            return b""
        rest, self._withheld = self._withheld, b""
        self._give()
        return rest

    def received(self, chunk: bytes) -> bytes:  # noqa: PLR0911 - one for each way to be out of step
        """Take output; return what of it belongs to the result."""
        self.is_waiting = False
        if self.step is Step.OFFERED and chunk != self._echo:
            return self._desync("output before it received a query")
        self._echo = b""
        match self.step:
            case Step.IDLE | Step.ACCEPTED:
                return self._desync("output that nobody asked for")
            case Step.OUT_OF_STEP:
                return b""
        try:
            content = self._reader.feed(chunk)
        except DesyncError as error:
            self.excerpt = error.output
            return self._desync(str(error))
        if self._reader.rest:
            self.excerpt = self._reader.rest
            return content + self._desync("more than one message as a result")
        if self._reader.is_complete:
            if self.step is Step.OFFERED:
                return content + self._desync("a result before it had read its query")
            self.step = Step.COMPLETE
        return content

    def accept(self, *, is_waiting: bool) -> None:
        """Accept a complete message: the process waits for its next query, or was silent for a moment."""
        if self.step is Step.COMPLETE:
            self._reader.next()
            self.step, self.is_waiting = Step.ACCEPTED, is_waiting

    def reject(self, problem: str) -> None:
        """Note that the message is not a result."""
        self._desync(problem)

    def ended(self) -> None:
        """Note that no output can follow."""
        if self.step is Step.COMPLETE:
            self.step = Step.ACCEPTED
        elif self._reader.progress():
            self._desync(f"{self._reader.progress()}, and ended")

    def _give(self) -> None:
        self.step, self.was_given, self.is_waiting = Step.SENT, True, False

    def _desync(self, problem: str) -> bytes:
        if self.step is not Step.OUT_OF_STEP:
            self.step, self.problem = Step.OUT_OF_STEP, problem
        return b""


class EnvelopeState:
    """All jobs of one process with the envelope: which it has, and which were cancelled and may still be answered."""

    def __init__(self, reader: MessageReader, max_message: int) -> None:
        self._reader = reader
        self.max_message = max_message
        self._message = bytearray()
        self.jobs: set[str] = set()
        self.cancelled: set[str] = set()
        self._chunked: set[str] = set()
        self.problem = ""
        self.excerpt = b""

    def begin(self, job_id: str) -> None:
        """Note that the process gets a job."""
        self.jobs.add(job_id)

    def cancel(self, job_id: str) -> None:
        """Note that nobody waits for the job: its late answer will be dropped."""
        if job_id in self.jobs:
            self.jobs.discard(job_id)
            self._chunked.discard(job_id)
            self.cancelled.add(job_id)

    def received(self, chunk: bytes) -> Iterator[Message]:
        """Take output; yield the messages for the jobs that the process has.

        When the process is out of step, `problem` completes "it wrote ...", and nothing more is yielded.
        """
        while chunk and not self.problem:
            try:
                self._message += self._reader.feed(chunk)
                if len(self._message) > self.max_message:
                    raise DesyncError(f"a message of more than {self.max_message} bytes")  # noqa: TRY301
                if not self._reader.is_complete:
                    return
                chunk = self._reader.next()
                message = self._checked(parse_message(bytes(self._message)))
            except DesyncError as error:
                self.problem, self.excerpt = str(error), error.output or bytes(self._message)
                return
            self._message.clear()
            if message is not None:
                yield message

    def ended(self) -> None:
        """Note that no output can follow."""
        if self.progress and not self.problem:
            self.problem, self.excerpt = f"{self.progress}, and ended", bytes(self._message)

    @property
    def progress(self) -> str:
        """How much of a message has come."""
        return self._reader.progress()

    def _checked(self, message: Message) -> Message | None:
        """Return the message if somebody waits for it. Raises DesyncError if the process does not have its job."""
        job_id, kind = message.job_id, message.kind
        if kind == "ready":
            return message
        if job_id in self.cancelled:
            if kind in {"result", "error", "end"}:
                self.cancelled.discard(job_id)
            return None
        if job_id not in self.jobs:
            raise DesyncError("an answer to a job that it does not have")
        if kind == "chunk":
            self._chunked.add(job_id)
        elif kind == "end" and job_id not in self._chunked:
            self._chunked.add(job_id)  # an empty stream
        elif kind == "result" and job_id in self._chunked:
            raise DesyncError("a result after chunks of the same job")
        if kind in {"result", "error", "end"}:
            self.jobs.discard(job_id)
            self._chunked.discard(job_id)
        return message
