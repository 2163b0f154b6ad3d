"""The log's queue: a reader that is slow or gone never delays anybody."""

import json
import logging
import os
import pty
import re
import threading
from collections.abc import Callable, Iterator

import pytest

from cm_exec.worker.logging import MOST_PENDING, LogWriter, TextFormat, start_log
from tests.support.processes import wait_until

LONG = 30.0
Pipe = tuple[int, int]


class Plain:
    """A format that adds nothing to a message."""

    def lines(self, record: logging.LogRecord) -> str:
        return record.getMessage() + "\n"


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:
            continue


def record(message: str | bytes) -> logging.LogRecord:
    return logging.LogRecord("cm_exec", logging.INFO, __file__, 1, message, (), None)


def read_all(fd: int) -> bytes:
    blocks = []
    while block := os.read(fd, 1 << 20):
        blocks.append(block)
    return b"".join(blocks)


def in_background(work: Callable[[], bytes]) -> Callable[[], bytes]:
    """Start `work` on a thread; the returned function waits for its result."""
    results: list[bytes] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def result() -> bytes:
        thread.join(LONG)
        assert results, "the reader has not come to an end"
        return results[0]

    return result


def is_running(writer: LogWriter) -> bool:
    return writer._thread is not None and writer._thread.is_alive()


def test_order(pipe: Pipe) -> None:
    """Records are written in order, and all of them before the writer closes."""
    read, write = pipe
    whole = in_background(lambda: read_all(read))
    writer = LogWriter(write, Plain())
    for number in range(20_000):
        writer.emit(record(str(number)))
    writer.close(LONG)
    os.close(write)
    assert whole().split() == [b"%d" % number for number in range(20_000)]


def test_prompt_write(pipe: Pipe) -> None:
    """A record is written soon, and not only at the end."""
    read, write = pipe
    writer = LogWriter(write, Plain())
    for message in (b"one\n", b"two\n"):
        writer.emit(record(message.decode().strip()))
        assert os.read(read, 100) == message
    writer.close()


@pytest.mark.parametrize("blocking", [True, False])
def test_slow_reader(pipe: Pipe, blocking: bool) -> None:
    """A slow reader delays no logging, and the lines that it misses are counted."""
    read, write = pipe
    os.set_blocking(write, blocking)
    writer = LogWriter(write, Plain())
    line, emitted = "x" * 10_000, 2 * MOST_PENDING // 10_000
    for _ in range(emitted):
        writer.emit(record(line))  # nobody reads yet: this comes to an end only if it never waits
    whole = in_background(lambda: read_all(read))
    writer.close(LONG)
    os.close(write)
    lines = whole().decode().splitlines()
    dropped = [int(n) for n in re.findall(r"^(\d+) lines were dropped because", "\n".join(lines), re.MULTILINE)]
    assert dropped
    assert lines.count(line) + sum(dropped) == emitted
    assert MOST_PENDING * 0.9 < len(line) * lines.count(line) < MOST_PENDING * 1.1


def test_dropped_handler_output(pipe: Pipe) -> None:
    """The lines of a handler's dropped output are counted."""
    read, write = pipe
    writer = LogWriter(write, TextFormat(colour=False))
    while not writer._dropped:
        writer.emit(record(b"y" * 100_000 + b"\n"))
    writer.emit(record(b"z" * 200_000 + b"\nb\nc\n"))
    whole = in_background(lambda: read_all(read))
    writer.close(LONG)
    os.close(write)
    assert b" 4 lines were dropped" in whole()


def test_closed_reader(pipe: Pipe) -> None:
    """A reader that has gone neither stops nor delays logging."""
    read, write = pipe
    os.close(read)
    writer = LogWriter(write, Plain())
    writer.emit(record("the first"))
    wait_until(lambda: not is_running(writer), what="the end of the writer")
    for _ in range(2 * MOST_PENDING // 100_000):
        writer.emit(record("x" * 100_000))
    assert writer._pending < MOST_PENDING / 10
    writer.close()


def test_close_with_a_stuck_reader(pipe: Pipe) -> None:
    """Closing waits for a stuck reader only until the timeout."""
    _, write = pipe
    writer = LogWriter(write, Plain())
    writer.emit(record("x" * 1_000_000))
    writer.close(timeout=0.1)
    assert is_running(writer)


def test_close_twice(pipe: Pipe) -> None:
    """Closing twice, or without records, is not an error."""
    _, write = pipe
    writer = LogWriter(write, Plain())
    writer.close()
    writer.close()
    assert not is_running(writer)


def test_what_no_encoding_can_hold_is_replaced(pipe: Pipe) -> None:
    read, write = pipe
    writer = LogWriter(write, Plain())
    writer.emit(record("half a pair: \ud83d"))
    writer.close()
    assert os.read(read, 100) == b"half a pair: ?\n"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Restore the program's logger after the test."""
    logger = logging.getLogger("cm_exec")
    before = logger.handlers, logger.propagate, logger.level, logging.raiseExceptions
    yield logger
    logger.handlers, logger.propagate, logger.level, logging.raiseExceptions = before


def test_start_log(pipe: Pipe, logger: logging.Logger) -> None:
    """The log has the descriptor and the level that it was started with."""
    read, write = pipe
    writer = start_log(write, "text", "warning")
    logger.info("not this")
    logger.getChild("worker").warning("this")
    writer.close()
    assert os.read(read, 1000).endswith(b"Z WARNING this\n")


def test_the_log_is_sls_where_that_is_said(pipe: Pipe, logger: logging.Logger) -> None:
    read, write = pipe
    writer = start_log(write, "sls", "info", "ses-7")
    logger.info("this")
    writer.close()
    line = json.loads(os.read(read, 1000))
    assert (line["message"], line["params"]["session_id"]) == ("this", "ses-7")


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("", True), ("1", False)])
def test_colours(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, no_color: str | None, coloured: bool) -> None:
    """A terminal gets colours unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    read, write = pty.openpty()
    try:
        writer = start_log(write, "text", "info")
        logger.error("red")
        writer.close()
        assert (b"\x1b[31m" in os.read(read, 1000)) is coloured
    finally:
        os.close(read)
        os.close(write)


def test_handle_in_python_3_13(pipe: Pipe) -> None:
    """Logging of Python 3.13 takes the handler's lock without a check that there is one."""
    writer = LogWriter(pipe[1], Plain())
    assert writer.lock is not None
    with writer.lock:
        assert writer.handle(record("a line"))
    assert os.read(pipe[0], 100) == b"a line\n"
    writer.close()
