"""The log: one writer thread, so that a slow or absent reader never delays a job."""

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

from cm_exec.config import LogFormat
from cm_exec.processes.launcher import write_all
from cm_exec.text import visible

MOST_PENDING: Final = 8 * 1024 * 1024
"""Bytes of records that wait for a slow reader; what exceeds them is dropped and counted."""

_BATCH: Final = 64 * 1024  # bytes of one write
_GATHER: Final = 0.01  # seconds: at a thousand jobs a second a hundred wake-ups are enough
_COST: Final = 200  # bytes of memory that an entry takes besides its text


class LineFormat(Protocol):
    """Turns a record into whole lines, each with its newline."""

    def lines(self, record: logging.LogRecord) -> str:
        """Format the lines of a record; the stderr of a handler can be many."""
        ...


def _messages(record: logging.LogRecord) -> list[str]:
    """Return the message of the launcher, or the lines that a handler wrote to stderr."""
    if isinstance(record.msg, bytes):
        return record.msg.decode(errors="backslashreplace").replace("\r\n", "\n").removesuffix("\n").split("\n")
    message = record.getMessage()
    if record.exc_info:
        message += "\n" + logging.Formatter().formatException(record.exc_info)
    return [message]


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=2)
def _second(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class TextFormat:
    """For people: time, level, function and job, message; in colour on a terminal."""

    _COLOURS: Final = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.DEBUG: "\033[2m"}

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def lines(self, record: logging.LogRecord) -> str:
        """`TIME LEVEL [FUNCTION JOB] message`, with `| ` before what the handler itself wrote."""
        start = f"{_time(record)} {record.levelname:<7} "
        tags = getattr(record, "tags", None)
        if tags:
            start += f"[{visible(' '.join(tags.values()))}] "
        if isinstance(record.msg, bytes):
            start += "| "
        colour = self._COLOURS.get(record.levelno, "") if self._colour else ""
        end = "\033[0m\n" if colour else "\n"
        return "".join(f"{colour}{start}{visible(m)}{end}" for m in _messages(record))


class SlsFormat:
    """Foundry's structured lines (protocol.md section 6, and what the official SDKs put into `params`)."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._process_id = os.getpid()

    def lines(self, record: logging.LogRecord) -> str:
        """One JSON object a line. What a handler wrote is not vouched for: `safe` is false there."""
        line = {
            "type": "service.1",
            "level": "WARN" if record.levelno == logging.WARNING else record.levelname,
            "time": _time(record),
            "origin": record.name,
            "thread": "main",
            "message": "",
            "params": {
                "session_id": self._session_id,
                "process_id": self._process_id,
                **getattr(record, "tags", {}),
                **getattr(record, "details", {}),
            },
            "unsafeParams": {},
            "safe": not isinstance(record.msg, bytes),
        }
        # only the message differs between the lines of a record: after a flood they are many
        start, _, end = json.dumps(line).partition('"message": ""')
        return "".join(f'{start}"message": {json.dumps(message)}{end}\n' for message in _messages(record))


class LogWriter(logging.Handler):
    """Queues lines and writes them to a descriptor from a thread of its own.

    The launcher's own messages are formatted by the caller: a thread that formats competes with the loop for the
    interpreter. What handlers write to stderr can be much, and is formatted by the thread.
    """

    def __init__(self, fd: int, line_format: LineFormat) -> None:
        super().__init__()
        self._fd = fd
        self._format = line_format
        self._queue: deque[str | logging.LogRecord] = deque()
        self._pending = 0
        self._dropped = 0
        self._closing = False
        self._gone = False
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._thread: threading.Thread | None = None
        self._start_thread()

    def _start_thread(self) -> None:
        """Start the writer; where no thread can be had, lines wait for a later try or for `close`."""
        thread = threading.Thread(target=self._write_forever, name="log", daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record without logging's lock: emit has its own."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record, or count it as dropped. Never blocks."""
        is_stderr = isinstance(record.msg, bytes)
        entry: str | logging.LogRecord = record if is_stderr else self._format.lines(record)
        cost = _cost(entry)
        with self._lock:
            if self._pending + cost > MOST_PENDING or self._gone:
                self._dropped += record.msg.count(b"\n") if isinstance(record.msg, bytes) else 1
                return
            self._pending += cost
            self._queue.append(entry)
            is_first = len(self._queue) == 1
        if is_first:
            self._filled.set()
        if self._thread is None:
            self._start_thread()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is queued, if the reader takes it within `timeout` seconds."""
        self._closing = True
        self._filled.set()
        if self._thread is not None:
            self._thread.join(timeout)
        else:
            self._write_queued()
        super().close()

    def _write_forever(self) -> None:
        while not self._gone:
            self._filled.wait()
            if not self._closing:
                time.sleep(_GATHER)
            closing = self._closing
            self._filled.clear()
            self._write_queued()
            if closing:
                return

    def _write_queued(self) -> None:
        while not self._gone:
            batch, dropped = self._take_batch()
            if dropped:
                batch.append(_dropped_record(dropped))
            if not batch:
                return
            lines = [entry if isinstance(entry, str) else self._format.lines(entry) for entry in batch]
            try:
                write_all(self._fd, "".join(lines).encode(errors="replace"))
            except OSError:
                self._gone = True

    def _take_batch(self) -> tuple[list[str | logging.LogRecord], int]:
        """Take the oldest entries, and how many lines were dropped meanwhile."""
        batch: list[str | logging.LogRecord] = []
        size = 0
        with self._lock:
            while self._queue and size < _BATCH:
                batch.append(self._queue.popleft())
                size += _cost(batch[-1])
            self._pending -= size
            dropped, self._dropped = self._dropped, 0
        return batch, dropped


def _cost(entry: str | logging.LogRecord) -> int:
    """Return the bytes of memory that an entry takes in the queue."""
    return _COST + len(entry if isinstance(entry, str) else entry.msg)


def _dropped_record(lines: int) -> logging.LogRecord:
    message = "%d lines were dropped because the log is read too slowly"
    return logging.LogRecord("cm_exec.log", logging.WARNING, __file__, 0, message, (lines,), None)


def start_log(fd: int, log_format: LogFormat, level: str, session_id: str = "") -> LogWriter:
    """Send the log of cm-exec to a descriptor from now on."""
    line_format: LineFormat
    if log_format == "sls":
        line_format = SlsFormat(session_id)
    else:
        line_format = TextFormat(colour=os.isatty(fd) and not os.environ.get("NO_COLOR"))
    writer = LogWriter(fd, line_format)
    logger = logging.getLogger("cm_exec")
    logger.handlers = [writer]
    logger.propagate = False
    logger.setLevel(level.upper())
    logging.raiseExceptions = False
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - logging's own advice: no look at the stack
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
    return writer


class _NewMessages(logging.Filter):
    """Passes a message once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message is new."""
        message = record.getMessage()
        is_new = message not in self._seen
        self._seen.add(message)
        return is_new


def show_messages_once() -> None:
    """Log the messages on processes once: each of several processes may end for the same reason."""
    logging.getLogger("cm_exec.handler").addFilter(_NewMessages())
