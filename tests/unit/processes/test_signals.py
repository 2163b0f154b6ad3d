"""`run_supervised`, in separate programs: it would change the signals of the tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

HEAD = """
import asyncio, os, signal, subprocess, sys
from cm_exec.processes.signals import run_supervised

def report(*words):
    print(*words, flush=True)

def on_signal(which, count):
    report(which.name, count)
"""


@contextmanager
def program(body: str, *wrapper: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python program with `report`, `on_signal`, `run_supervised` and this body."""
    with subprocess.Popen(
        [*wrapper, sys.executable, "-c", HEAD + body], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def output(body: str) -> list[str]:
    """Return what the program prints; it must end by itself and well."""
    with program(body) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.splitlines()


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_returns_what_the_work_returns() -> None:
    body = """
import threading
async def work():
    report(threading.current_thread() is threading.main_thread())
    return 7
report(run_supervised(work, on_signal))
"""
    assert output(body) == ["True", "7"]


@pytest.mark.parametrize("error", ["ValueError('x')", "KeyboardInterrupt()", "SystemExit(7)"])
def test_it_raises_what_the_work_raises(error: str) -> None:
    body = f"""
async def work():
    raise {error}
try:
    run_supervised(work, on_signal)
except BaseException as error:
    report(repr(error))
"""
    assert output(body) == [error]


WAITS = """
async def work():
    report("ready")
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize("pair", [("SIGTERM", "SIGINT"), ("SIGHUP", "SIGQUIT")])
def test_signals_are_passed_on_with_their_number(pair: tuple[str, str]) -> None:
    body = """
release = asyncio.Event()
def on_signal(which, count):
    report(which.name, count)
    if count == 2:
        release.set()
async def work():
    report("ready")
    await release.wait()
run_supervised(work, on_signal)
report("end")
"""
    with program(body) as process:
        assert next_line(process) == "ready"
        for count, name in enumerate(pair, 1):
            os.kill(process.pid, signal.Signals[name])
            assert next_line(process) == f"{name} {count}"
        assert next_line(process) == "end"


def test_the_work_ends_soon_after_a_second_signal() -> None:
    with program(WAITS + "report(run_supervised(work, on_signal))") as process:
        assert next_line(process) == "ready"
        for count in (1, 2):
            os.kill(process.pid, signal.SIGTERM)
            assert next_line(process) == f"SIGTERM {count}"
        assert next_line(process) == "None"
        assert process.wait(60) == 0


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT"])
def test_a_signal_that_is_ignored_stays_so(name: str) -> None:
    """As nohup does with SIGHUP on purpose."""
    body = f"signal.signal(signal.{name}, signal.SIG_IGN)\n{WAITS}run_supervised(work, on_signal)"
    with program(body) as process:
        assert next_line(process) == "ready"
        os.kill(process.pid, signal.Signals[name])
        os.kill(process.pid, signal.SIGTERM)
        assert next_line(process) == "SIGTERM 1"


def test_ignored_signals() -> None:
    """SIGTERM and SIGINT are handled even if the parent ignored them, as a script does for `make test &`."""
    body = f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{WAITS}run_supervised(work, on_signal)"
    with program(body) as process:
        assert next_line(process) == "ready"
        os.kill(process.pid, signal.SIGINT)
        assert next_line(process) == "SIGINT 1"


@pytest.mark.parametrize("pidfds", [True, False])
def test_reaping(pidfds: bool) -> None:
    """Adopted processes are reaped, and children of the application are not."""
    body = f"""
if not {pidfds}:
    del os.pidfd_open
from cm_exec.processes.termination import ProcessTree
async def work():
    own = subprocess.Popen(["true"])
    ProcessTree(own.pid, 1, set())
    shell = subprocess.run(["sh", "-c", "(sleep 0.1) >/dev/null & echo $!"], stdout=subprocess.PIPE, text=True)
    while os.path.exists(f"/proc/{{int(shell.stdout)}}"):
        await asyncio.sleep(0.01)
    report(os.waitid(os.P_PID, own.pid, os.WEXITED).si_pid == own.pid)
    own.returncode = 0
run_supervised(work, on_signal)
"""
    assert output(body) == ["True"]


def test_signal_during_a_signal() -> None:
    """A signal that arrives while another is handled is not lost."""
    body = """
release = asyncio.Event()
def on_signal(which, count):
    report(which.name, count)
    if count == 1:
        os.kill(os.getpid(), signal.SIGINT)
    else:
        release.set()
async def work():
    report("ready")
    await release.wait()
run_supervised(work, on_signal)
"""
    with program(body) as process:
        assert next_line(process) == "ready"
        os.kill(process.pid, signal.SIGTERM)
        assert [next_line(process), next_line(process)] == ["SIGTERM 1", "SIGINT 2"]
        assert process.wait(60) == 0


def test_inherited_signal_state() -> None:
    """An ignored SIGCHLD and a blocked mask, which the parent may have set, are reset: they lose exits and signals."""
    body = """
from cm_exec.processes.launcher import prepare_process
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
prepare_process()
report(subprocess.run(["sh", "-c", "exit 3"]).returncode, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    assert output(body) == ["3 set()"]
