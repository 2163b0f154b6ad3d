"""A signal counts whichever thread of the program the system hands it to."""

import ctypes
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.dev_program import CM_EXEC, dev_environment
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

SLOW = function("slow", "touch started; exec sleep 301") + '[[tests]]\nfunction = "slow"\nquery = 1\nresult = 1\n'


def interrupt_other_thread(pid: int) -> None:
    """Send SIGINT to a thread of the process that is not its first."""
    thread = max(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
    assert thread != pid
    assert ctypes.CDLL(None).tgkill(pid, thread, signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["conform", "--", "sh", "-c", "touch started; exec sleep 301"], 130),
        (["dev", "--port", "0", "--runtime-port", "0", "--ready-file", "started"], 0),
        (["dev", "--port", "0", "--runtime-port", "0", "--ready-file", "started", "--no-worker"], 0),
        (["test", "--", CM_EXEC, "run"], 130),
        (["bench", "slow"], 130),
    ],
    ids=["conform", "dev", "dev without a worker", "test", "bench"],
)
def test_interrupt(tmp_path: Path, arguments: list[str], status: int) -> None:
    """Ctrl-C ends each command that has threads, also when another thread than the first gets the signal."""
    (tmp_path / "cm.toml").write_text(SLOW)
    with subprocess.Popen(
        [CM_EXEC, *arguments], cwd=tmp_path, env=dev_environment(tmp_path), stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_until((tmp_path / "started").exists, what="the start", seconds=60)
            interrupt_other_thread(process.pid)
            assert process.wait(60) == status
        finally:
            process.kill()


def test_drain(harness: WorkerHarness) -> None:
    """A worker drains, too."""
    worker = harness.start(function("f", "cat"))
    assert harness.runtime.call("f", b"1") == b"1"
    interrupt_other_thread(worker.pid)
    assert worker.wait() == 0
