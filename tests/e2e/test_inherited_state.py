"""What the worker inherits from its parent, signals and limits, changes neither its answers nor its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.answers import error_of
from tests.support.bench import Bench
from tests.support.toml import function
from tests.support.worker import CM_EXEC

LOOP = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]
ECHO = function("echo", ["cat"])
STATUS = "cat /proc/self/status"
BLOCKED = function("blocked", "touch started; while [ ! -e go ]; do sleep 0.05; done; printf done")


def mask(name: str, status: bytes) -> int:
    return int(next(line for line in status.decode().splitlines() if line.startswith(name)).split()[1], 16)


def bit(number: signal.Signals) -> int:
    return 1 << (number - 1)


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_ignored_sigchld(bench: Bench, mode: str) -> None:
    """A failure stays a failure where the parent ignores SIGCHLD, and a handler has the default."""
    config = function("fails", "echo 1; exit 3", mode=mode) + function("status", STATUS, mode=mode)
    bench.start(config, wrapper=["env", "--ignore-signal=CHLD"])
    for _ in range(5):
        error = error_of(bench.runtime.result(bench.runtime.submit("fails")))
        assert (error["reason"], error["exitCode"]) == ("exit", 3)
    assert mask("SigIgn", bench.runtime.call("status")) & bit(signal.SIGCHLD) == 0


def test_ignored_sigchld_persistent(bench: Bench) -> None:
    """The exit status of a persistent process is known too."""
    bench.start(function("f", LOOP, mode="persistent"), wrapper=["env", "--ignore-signal=CHLD"])
    error = error_of(bench.runtime.result(bench.runtime.submit("f", b'["exit", 3]')))
    assert (error["reason"], error["exitCode"]) == ("exit", 3)


def test_ignored_sigchld_in_invoke(bench: Bench) -> None:
    """`invoke` reports the handler's status."""
    bench.write(function("f", "exit 3"))
    command = ["env", "--ignore-signal=CHLD", CM_EXEC, "invoke", "f", "null"]
    done = subprocess.run(command, cwd=bench.folder, env=bench.environment({}), check=False, timeout=60)
    assert done.returncode == 3


@pytest.mark.parametrize("blocked", ["TERM", "CHLD", "TERM,INT,HUP,QUIT,CHLD,USR1,ALRM"])
def test_blocked_signals(bench: Bench, blocked: str) -> None:
    """A worker that inherits blocked signals drains on SIGTERM, and its handlers block none."""
    bench.runtime.poll_seconds = 0.2
    config = function("status", STATUS) + function("early", STATUS, mode="prespawn") + BLOCKED
    worker = bench.start(config, wrapper=["env", f"--block-signal={blocked}"])
    assert [mask("SigBlk", bench.runtime.call(name)) for name in ("status", "early")] == [0, 0]
    job = bench.runtime.submit("blocked")
    bench.runtime.wait_until_handed_out(job)
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait_for_log("SIGTERM")
    bench.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(bench.runtime.result(job).body) == b"done"


def test_handler_obeys_sigterm(bench: Bench) -> None:
    """A handler of a worker that inherited a blocked SIGTERM is ended by SIGTERM, not by SIGKILL."""
    config = function("f", 'trap "echo ended >&2; exit 1" TERM; while :; do sleep 0.05; done', timeout=1)
    bench.start(config, wrapper=["env", "--block-signal=TERM"])
    assert error_of(bench.runtime.result(bench.runtime.submit("f")))["stderr"].endswith("ended\n")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP])
def test_quit_and_hangup_drain(bench: Bench, number: signal.Signals) -> None:
    """SIGQUIT and SIGHUP drain as SIGTERM does: the job in progress is answered, and nothing is left running."""
    bench.runtime.poll_seconds = 0.2
    worker = bench.start(BLOCKED)
    job = bench.runtime.submit("blocked")
    bench.runtime.wait_until_handed_out(job)
    worker.signal(number)
    assert worker.is_running()
    bench.folder.joinpath("go").touch()
    assert worker.wait() == 0
    assert bytes(bench.runtime.result(job).body) == b"done"
    worker.wait_until_alone()


def test_hangup_under_nohup(bench: Bench) -> None:
    """SIGHUP stays ignored where the parent ignores it, in the worker and in its handlers."""
    bench.runtime.poll_seconds = 0.2
    worker = bench.start(ECHO + function("status", STATUS), wrapper=["nohup"])
    worker.signal(signal.SIGHUP)
    for n in range(5):
        bench.runtime.wait_for_poll(after=len(bench.runtime.ledger.all()))
        assert bench.runtime.call("echo", b"%d" % n) == b"%d" % n
    assert mask("SigIgn", bench.runtime.call("status")) & bit(signal.SIGHUP)
    assert worker.is_running()


def test_ignored_interrupt(bench: Bench) -> None:
    """SIGINT is the launcher's own: a shell that ignores it for a background job does not change the handlers."""
    bench.start(function("status", STATUS), wrapper=["env", "--ignore-signal=INT"])
    assert mask("SigIgn", bench.runtime.call("status")) & bit(signal.SIGINT) == 0


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_handlers_keep_the_soft_limit(bench: Bench, mode: str) -> None:
    """The launcher raises its soft limit of descriptors; a handler gets the original limits."""
    config = function("f", "ulimit -Sn; ulimit -Hn", mode=mode)
    worker = bench.start(config, wrapper=["prlimit", "--nofile=1024:4096"])
    assert bench.runtime.call("f").split() == [b"1024", b"4096"]
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == ["4096", "4096"]


def test_persistent_keeps_the_soft_limit(bench: Bench) -> None:
    """A persistent process gets the original limits too."""
    script = "import resource,sys\nfor _ in sys.stdin: print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)"
    config = function("f", [sys.executable, "-S", "-E", "-c", script], mode="persistent")
    bench.start(config, wrapper=["prlimit", "--nofile=1024:4096"])
    assert bench.runtime.call("f").strip() == b"1024"


def test_240_slots_at_a_soft_limit_of_1024(bench: Bench) -> None:
    """Concurrency is bounded by the hard limit of descriptors, not by the soft one."""
    slots = 240
    os.mkfifo(bench.folder / "gate")
    gate = os.open(bench.folder / "gate", os.O_RDWR)
    try:
        config = function("f", ': > "started.$CM_JOB_ID"; cat gate; printf done', timeout=0)
        bench.start(config, "--concurrency", str(slots), wrapper=["prlimit", "--nofile=1024:8192"])
        jobs = [bench.runtime.submit("f") for _ in range(slots)]
        bench.runtime.ledger.wait_for(
            lambda: len(list(bench.folder.glob("started.*"))) == slots, what=f"the start of {slots} jobs", seconds=90
        )
    finally:
        os.close(gate)  # the end of every job's input
    assert {bytes(bench.runtime.result(job, seconds=90).body) for job in jobs} == {b"done"}
