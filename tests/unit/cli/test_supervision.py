"""The launcher's first thread, as a program of its own: it would change the signals of the tests' process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

HEAD = """
import os, signal, sys, threading, time
from cm_exec.cli import supervision
from cm_exec.cli.supervision import EndAtOnce, supervise

def tell(*words):
    print(*words, flush=True)

def on_signal(which, how_often):
    tell(which.name, how_often)
"""


@contextmanager
def program(body: str) -> Iterator["subprocess.Popen[str]"]:
    """Return a Python program with `tell`, `on_signal`, `supervise` and this body."""
    with subprocess.Popen(
        [sys.executable, "-c", HEAD + body], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(body: str) -> list[str]:
    """Return the output of a program, which must end with status 0."""
    with program(body) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.splitlines()


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_returns_when_the_work_is_done() -> None:
    body = "supervise(lambda: tell(threading.current_thread() is threading.main_thread()), on_signal)\ntell('end')"
    assert told(body) == ["False", "end"]


@pytest.mark.parametrize("error", ["ValueError('x')", "KeyboardInterrupt()", "SystemExit(7)"])
def test_it_raises_what_the_work_raises(error: str) -> None:
    body = f"""
def work():
    raise {error}
try:
    supervise(work, on_signal)
except BaseException as error:
    tell(repr(error))
"""
    assert told(body) == [error]


def test_signals_are_told_on_the_first_thread_with_their_number() -> None:
    body = """
release = threading.Event()
def on_signal(which, how_often):
    tell(which.name, how_often, threading.current_thread() is threading.main_thread())
    if how_often == 3:
        release.set()
supervise(lambda: (tell("ready"), release.wait()), on_signal)
tell("end")
"""
    with program(body) as process:
        assert next_line(process) == "ready"
        for number, which in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), 1):
            os.kill(process.pid, which)
            assert next_line(process) == f"{which.name} {number} True"
        assert next_line(process) == "end"


def test_an_order_to_end_at_once_does_not_wait_for_the_work() -> None:
    body = """
def on_signal(which, how_often):
    raise EndAtOnce
supervise(lambda: (tell("ready"), time.sleep(300)), on_signal)
tell("end")
"""
    with program(body) as process:
        assert next_line(process) == "ready"
        os.kill(process.pid, signal.SIGTERM)
        assert next_line(process) == "end"
        assert process.wait(60) == 0


@pytest.mark.parametrize("pidfds", [True, False])
def test_signals_are_as_before_afterwards(pidfds: bool) -> None:
    body = f"""
if not {pidfds}:
    del os.pidfd_open
signals = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
before = [signal.getsignal(s) for s in signals]
during = []
supervise(lambda: during.extend(signal.getsignal(s) for s in signals), on_signal)
tell([signal.getsignal(s) for s in signals] == before, signal.set_wakeup_fd(-1) == -1)
tell([a == b for a, b in zip(before, during)])
"""
    assert told(body) == ["True True", f"[False, False, {pidfds}]"]


def test_without_pidfds_watches_are_woken_when_a_child_ends() -> None:
    body = """
import select, subprocess
del os.pidfd_open
from cm_exec.handlers.exit_watch import watch_exit
def work():
    process = subprocess.Popen(["sleep", "0.2"])
    watch = watch_exit(process.pid)
    watch.acknowledge()
    tell(type(watch).__name__, bool(select.select([watch], [], [], 60)[0]), process.wait())
supervise(work, on_signal)
"""
    assert told(body) == ["SigchldWatch True 0"]


@pytest.mark.parametrize("pidfds", [True, False])
def test_adopted_processes_are_reaped_and_those_of_the_work_are_not(pidfds: bool) -> None:
    body = f"""
import subprocess
if not {pidfds}:
    del os.pidfd_open
def work():
    own = subprocess.Popen(["true"])
    shell = subprocess.run(["sh", "-c", "(sleep 0.1) >/dev/null & echo $!"], stdout=subprocess.PIPE, text=True)
    orphan = int(shell.stdout)
    while os.path.exists(f"/proc/{{orphan}}"):
        time.sleep(0.01)
    tell(os.waitid(os.P_PID, own.pid, os.WEXITED).si_pid == own.pid)
    own.returncode = 0
supervise(work, on_signal)
"""
    assert told(body) == ["True"]


def test_a_signal_that_comes_while_one_is_handled_is_not_lost() -> None:
    body = """
release = threading.Event()
def on_signal(which, how_often):
    tell(which.name, how_often)
    if how_often == 1:
        os.kill(os.getpid(), signal.SIGINT)
    else:
        release.set()
supervise(lambda: (tell("ready"), release.wait()), on_signal)
"""
    with program(body) as process:
        assert next_line(process) == "ready"
        os.kill(process.pid, signal.SIGTERM)
        assert [next_line(process), next_line(process)] == ["SIGTERM 1", "SIGINT 2"]
        assert process.wait(60) == 0
