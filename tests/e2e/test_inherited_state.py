"""What the worker inherits from its parent, signals and limits, changes neither its answers nor its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.answers import error_of
from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]
ECHO = function("echo", ["cat"])
STATUS = "cat /proc/self/status"
BLOCKED = function("blocked", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")


def mask(name: str, status: bytes) -> int:
    return int(next(line for line in status.decode().splitlines() if line.startswith(name)).split()[1], 16)


def bit(number: signal.Signals) -> int:
    return 1 << (number - 1)


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_ignored_sigchld(harness: WorkerHarness, mode: str) -> None:
    """A failure stays a failure where the parent ignores SIGCHLD, and a handler has the default."""
    config = function("fails", "echo 1; exit 3", mode=mode) + function("status", STATUS, mode=mode)
    harness.start(config, wrapper=["env", "--ignore-signal=CHLD"])
    for _ in range(5):
        error = error_of(harness.runtime.result(harness.runtime.submit("fails")))
        assert (error["reason"], error["exitCode"]) == ("exit", 3)
    assert mask("SigIgn", harness.runtime.call("status")) & bit(signal.SIGCHLD) == 0


def test_ignored_sigchld_persistent(harness: WorkerHarness) -> None:
    """The exit status of a persistent process is known too."""
    harness.start(function("f", LOOP, mode="persistent"), wrapper=["env", "--ignore-signal=CHLD"])
    error = error_of(harness.runtime.result(harness.runtime.submit("f", b'["exit", 3]')))
    assert (error["reason"], error["exitCode"]) == ("exit", 3)


def test_ignored_sigchld_in_invoke(harness: WorkerHarness) -> None:
    """`invoke` reports the handler's status."""
    harness.write(function("f", "exit 3"))
    command = ["env", "--ignore-signal=CHLD", CM_EXEC, "invoke", "f", "null"]
    done = subprocess.run(command, cwd=harness.folder, env=harness.environment({}), check=False, timeout=60)
    assert done.returncode == 3


@pytest.mark.parametrize("blocked", ["TERM", "CHLD", "TERM,INT,HUP,QUIT,CHLD,USR1,ALRM"])
def test_blocked_signals(harness: WorkerHarness, blocked: str) -> None:
    """A worker that inherits blocked signals drains on SIGTERM, and its handlers block none."""
    harness.runtime.poll_seconds = 0.2
    config = function("status", STATUS) + function("early", STATUS, mode="prespawn") + BLOCKED
    worker = harness.start(config, wrapper=["env", f"--block-signal={blocked}"])
    assert [mask("SigBlk", harness.runtime.call(name)) for name in ("status", "early")] == [0, 0]
    job = harness.runtime.submit("blocked")
    harness.runtime.wait_until_handed_out(job)
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait_for_log("SIGTERM")
    harness.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"done"


def test_handler_obeys_sigterm(harness: WorkerHarness) -> None:
    """A handler of a worker that inherited a blocked SIGTERM is ended by SIGTERM, not by SIGKILL."""
    config = function("f", 'trap "echo ended >&2; exit 1" TERM; while :; do sleep 0.05; done', timeout=1)
    harness.start(config, wrapper=["env", "--block-signal=TERM"])
    assert error_of(harness.runtime.result(harness.runtime.submit("f")))["stderr"].endswith("ended\n")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP])
def test_quit_and_hangup_drain(harness: WorkerHarness, number: signal.Signals) -> None:
    """SIGQUIT and SIGHUP drain as SIGTERM does: the job in progress is answered, and nothing is left running."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(BLOCKED)
    job = harness.runtime.submit("blocked")
    harness.runtime.wait_until_handed_out(job)
    worker.signal(number)
    assert worker.is_running()
    harness.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(harness.runtime.result(job).body) == b"done"
    worker.wait_until_alone()


def test_hangup_under_nohup(harness: WorkerHarness) -> None:
    """SIGHUP stays ignored where the parent ignores it, in the worker and in its handlers."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(ECHO + function("status", STATUS), wrapper=["nohup"])
    worker.signal(signal.SIGHUP)
    for n in range(5):
        harness.runtime.wait_for_poll(after=len(harness.runtime.request_log.all()))
        assert harness.runtime.call("echo", b"%d" % n) == b"%d" % n
    assert mask("SigIgn", harness.runtime.call("status")) & bit(signal.SIGHUP)
    assert worker.is_running()


def test_ignored_interrupt(harness: WorkerHarness) -> None:
    """SIGINT is the launcher's own: a shell that ignores it for a background job does not change the handlers."""
    harness.start(function("status", STATUS), wrapper=["env", "--ignore-signal=INT"])
    assert mask("SigIgn", harness.runtime.call("status")) & bit(signal.SIGINT) == 0


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_handlers_keep_the_soft_limit(harness: WorkerHarness, mode: str) -> None:
    """The launcher raises its soft limit of descriptors; a handler gets the original limits."""
    config = function("f", "ulimit -Sn; ulimit -Hn", mode=mode)
    worker = harness.start(config, wrapper=["prlimit", "--nofile=1024:4096"])
    assert harness.runtime.call("f").split() == [b"1024", b"4096"]
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == ["4096", "4096"]


def test_persistent_keeps_the_soft_limit(harness: WorkerHarness) -> None:
    """A persistent process gets the original limits too."""
    script = "import resource,sys\nfor _ in sys.stdin: print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)"
    config = function("f", [sys.executable, "-S", "-E", "-c", script], mode="persistent")
    harness.start(config, wrapper=["prlimit", "--nofile=1024:4096"])
    assert harness.runtime.call("f").strip() == b"1024"


def test_240_slots_at_a_soft_limit_of_1024(harness: WorkerHarness) -> None:
    """Concurrency is bounded by the hard limit of descriptors, not by the soft one."""
    slots = 240
    os.mkfifo(harness.folder / "gate")
    gate = os.open(harness.folder / "gate", os.O_RDWR)
    try:
        config = function("f", 'exec 5<gate; : > "started.$CM_JOB_ID"; cat <&5; printf done', timeout=0)
        harness.start(config, "--concurrency", str(slots), wrapper=["prlimit", "--nofile=1024:8192"])
        jobs = [harness.runtime.submit("f") for _ in range(slots)]
        harness.runtime.request_log.wait_for(
            lambda: len(list(harness.folder.glob("started.*"))) == slots, what=f"the start of {slots} jobs", seconds=90
        )
    finally:
        os.close(gate)  # the end of every job's input
    assert {bytes(harness.runtime.result(job, seconds=90).body) for job in jobs} == {b"done"}
