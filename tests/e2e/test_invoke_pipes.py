"""`invoke` in a pipeline: non-blocking pipes, readers that leave, and full disks."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

SIZE = 5_000_000


@contextmanager
def started(
    harness: WorkerHarness,
    *arguments: str,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `cm-exec invoke` with the given descriptors, and end it in any case."""
    process = subprocess.Popen(
        [CM_EXEC, "invoke", *arguments],
        cwd=harness.folder,
        env=harness.environment({}),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def nonblocking_pipe() -> tuple[int, int]:
    read, write = os.pipe()
    for end in (read, write):
        os.set_blocking(end, False)
    return read, write


def read_slowly(fd: int) -> bytes:
    """Read to the end of a pipe, in small pieces at first."""
    data = bytearray()
    os.set_blocking(fd, True)
    while part := os.read(fd, 4096 if len(data) < 100_000 else 1 << 20):
        if len(data) < 100_000:
            time.sleep(0.02)
        data += part
    os.close(fd)
    return bytes(data)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nonblocking_stdout(harness: WorkerHarness, stream: bool) -> None:
    """A result is written whole to a pipe that is non-blocking and read slowly."""
    harness.write(function("f", f"yes 0123456 | head -c {SIZE}", stream=stream))
    read, write = nonblocking_pipe()
    holder = os.dup(read)  # keeps O_NONBLOCK on the writing end only
    with started(harness, "f", "null", stdout=write) as process:
        os.close(write)
        os.close(holder)
        output = read_slowly(read)
        assert process.wait(60) == 0
    assert output == b"0123456\n" * (SIZE // 8)


def test_nonblocking_stderr(harness: WorkerHarness) -> None:
    """So are a handler's words on stderr."""
    harness.write(function("f", f"yes 0123456 | head -c {SIZE} >&2; echo 42"))
    read, write = nonblocking_pipe()
    with started(harness, "f", "null", stderr=write, stdout=subprocess.PIPE) as process:
        os.close(write)
        output = read_slowly(read)
        assert process.stdout is not None
        assert process.stdout.read() == b"42\n"
        assert process.wait(60) == 0
    assert output == b"0123456\n" * (SIZE // 8)


def test_nonblocking_stdin(harness: WorkerHarness) -> None:
    """A query that comes in parts on a non-blocking pipe is read to its end."""
    harness.write(function("f", ["cat"]))
    query = json.dumps("x" * SIZE).encode()
    read, write = os.pipe()
    os.set_blocking(read, False)
    with started(harness, "f", stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(read)

        def feed() -> None:
            with os.fdopen(write, "wb", buffering=0) as pipe, suppress(BrokenPipeError):
                for at in range(0, len(query), 500_000):
                    time.sleep(0.1)
                    pipe.write(query[at : at + 500_000])

        writer = threading.Thread(target=feed)
        writer.start()
        output, stderr = process.communicate(timeout=60)
        writer.join()
    assert (process.returncode, output, stderr) == (0, query, b"")


def test_reader_that_leaves(harness: WorkerHarness) -> None:
    """`invoke STREAM | head` ends when head does, and the handler with it."""
    harness.write(function("f", "while :; do echo x; sleep 0.01; done", stream=True, timeout=0))
    read, write = os.pipe()
    with started(harness, "f", "null", stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        assert os.read(read, 1) == b"x"
        os.close(read)
        _, stderr = process.communicate(timeout=30)
    assert b"Traceback" not in stderr
    assert process.returncode != 0


def test_reader_that_leaves_a_whole_result(harness: WorkerHarness) -> None:
    """A whole result whose reader has gone ends without a traceback too."""
    harness.write(function("f", f"touch started; head -c {SIZE} /dev/zero"))
    read, write = os.pipe()
    with started(harness, "f", "null", stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        os.close(read)
        _, stderr = process.communicate(timeout=30)
    assert b"Traceback" not in stderr


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_full_disk(harness: WorkerHarness, stream: bool) -> None:
    """A result that cannot be written is an error with its reason."""
    harness.write(function("f", "echo 42", stream=stream))
    full = os.open("/dev/full", os.O_WRONLY)
    with started(harness, "f", "null", stdout=full, stderr=subprocess.PIPE) as process:
        os.close(full)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"No space left on device" in stderr
    assert b"Traceback" not in stderr
    assert b"bug" not in stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_closed_descriptors(harness: WorkerHarness, closed: str) -> None:
    """A closed standard descriptor gives no traceback and goes to no other file."""
    harness.write(function("f", "cat; echo words >&2"))
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", CM_EXEC, "invoke", "f", "7"],
        cwd=harness.folder,
        env=harness.environment({}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr
    if closed != ">&-":
        assert (done.returncode, done.stdout) == (0, b"7")
    if closed != "2>&-":
        assert b"words\n" in done.stderr
