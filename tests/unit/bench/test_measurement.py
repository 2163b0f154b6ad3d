"""Percentiles, throughput and memory."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.bench.measure import percentile, throughput
from cm_exec.bench.worker import Memory, MemoryWatch, failure_text, memory_of
from tests.support.processes import wait_until

HUNDRED = [n / 100 for n in range(1, 101)]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (1, 1.0), (0, 0.01)])
def test_percentile(share: float, expected: float) -> None:
    assert percentile(list(reversed(HUNDRED)), share) == expected


def test_percentile_of_few() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_splits_values(values: list[float], share: float) -> None:
    split = percentile(values, share)
    assert split in values
    assert sum(value <= split for value in values) >= share * len(values) * 0.999999


def test_throughput() -> None:
    assert throughput([0.1] * 18, elapsed=2.0, slots=1) == 9.0


def test_throughput_limit() -> None:
    """Two batches of four jobs of two seconds, of which one began before the count."""
    assert throughput([2.0] * 8, elapsed=2.5, slots=4) == 2.0


def test_throughput_without_duration() -> None:
    assert throughput([0.5], elapsed=0.0, slots=2) == 4.0


def test_memory_of_handlers() -> None:
    """All processes below the worker count: here a shell, and below it a process that holds 40 MiB."""
    hold = "import sys; held = bytearray(b'x' * (40 << 20)); print('ready', flush=True); sys.stdin.read()"
    tree = f"import subprocess; subprocess.run(['/bin/sh', '-c', '\"$0\" -c \"$1\"; :', {sys.executable!r}, {hold!r}])"
    with subprocess.Popen([sys.executable, "-c", tree], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        memory = memory_of(worker.pid)
        with MemoryWatch(worker.pid) as watch:
            wait_until(lambda: watch.peak.handlers, what="a look at the memory")
        worker.communicate(timeout=30)
    for seen in (memory, watch.peak):
        assert seen.handlers is not None
        assert seen.worker is not None
        assert 40 << 20 < seen.handlers < 120 << 20
        assert 1 << 20 < seen.worker < 40 << 20


def test_memory_without_handlers() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as worker:
        assert memory_of(worker.pid).handlers is None
        worker.communicate(timeout=30)


def test_memory_of_ended_process() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
        assert memory_of(gone.pid) == Memory()


def test_memory_before_exec() -> None:
    """A fork shares all of the worker's memory until it executes its command, so it does not count."""
    read, write = os.pipe()
    script = f"import os, sys\nif not os.fork(): print('ready', flush=True); os.read({read}, 1); os._exit(0)\nos.wait()"
    with subprocess.Popen([sys.executable, "-c", script], pass_fds=[read], stdout=subprocess.PIPE) as worker:
        os.close(read)
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        assert memory_of(worker.pid).handlers is None
        os.close(write)
        assert worker.wait(30) == 0


def test_memory_peak() -> None:
    peak = Memory(worker=1, handlers=None).peak(Memory(worker=3, handlers=2)).peak(Memory(worker=2, handlers=1))
    assert peak == Memory(worker=3, handlers=2)
    assert Memory().peak(Memory()) == Memory()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "e", "stderr": "one\\n  two  \\n"}', "it failed; its stderr ends: two"),
        (b'{"error": "e", "stderr": "\\n"}', "it failed"),
        (b'{"error": "e", "stderr": 3}', "it failed"),
        (b"[]", "it failed"),
        (b"\xff{", "it failed"),
    ],
)
def test_failure_text(body: bytes, expected: str) -> None:
    assert failure_text("it failed", body) == expected
