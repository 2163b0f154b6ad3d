"""One child process: its start, its end, its descriptors, and what watches it."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cm_exec.handlers import HandlerContext
from cm_exec.processes import termination
from cm_exec.processes.child import Child, Command, ExitWatch, NotStartedError, bytes_in
from cm_exec.processes.launcher import new_tag, process_tag
from cm_exec.processes.termination import Orphan, ProcessTree
from tests.support.handlers import JobRun, function_of, handler_of, run
from tests.support.processes import has_ended, open_descriptors, wait_until

RunCommand = Callable[..., Coroutine[None, None, JobRun]]
ENVIRONMENT = {b"PATH": os.environb[b"PATH"]}


def start(*argv: str, first_input: bytes = b"", registry: set[ProcessTree] | None = None) -> Child:
    command = Command(argv=argv, env=ENVIRONMENT, cwd=Path("/"))
    return Child(command, set() if registry is None else registry, first_input)


@contextmanager
def child(*argv: str, first_input: bytes = b"") -> Iterator[Child]:
    running = start(*argv, first_input=first_input)
    try:
        yield running
    finally:
        running.kill()
        wait_until(lambda: running.exit_status() is not None, what="the end of the child")
        running.close()


async def exits(watch: ExitWatch) -> None:
    """Wait until the watch calls."""
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    watch.start(loop, called.set)
    await called.wait()
    watch.stop(loop)


async def test_exit_status() -> None:
    """The exit status is available as soon as the watch calls, and stays."""
    with child("/bin/sh", "-c", "read line; exit 7") as running:
        assert running.exit_status() is None
        watching = asyncio.create_task(exits(running.exit_watch))
        await asyncio.sleep(0.05)
        assert not watching.done()
        running.close_stdin()
        await watching
        assert (running.exit_status(), running.exit_status()) == (7, 7)


_WITHOUT_PIDFDS = """
import asyncio, os, signal, subprocess
del os.pidfd_open
from cm_exec.processes.child import ExitWatch

async def main():
    loop = asyncio.get_running_loop()
    for seconds in ("0", "0.3"):
        process = subprocess.Popen(["sleep", seconds])
        while seconds == "0" and open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
            await asyncio.sleep(0.01)
        watch, over = ExitWatch(process.pid), asyncio.Event()
        def look():
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                over.set()
        watch.start(loop, look)
        await asyncio.wait_for(over.wait(), 60)
        watch.stop(loop)
        watch.close()
        process.wait()

asyncio.run(main())
"""


def test_exit_without_pidfds() -> None:
    """Without pidfds an exit is noticed, before and after the watch begins."""
    assert subprocess.run([sys.executable, "-c", _WITHOUT_PIDFDS], check=False, timeout=100).returncode == 0


def test_signal_to_a_stopped_group() -> None:
    """A signal reaches the whole group, even if the group is stopped."""
    with child("/bin/sh", "-c", "sleep 300 & kill -STOP $$; wait") as running:
        wait_until(lambda: b") T" in Path(f"/proc/{running.pid}/stat").read_bytes(), what="the stop")
        running.terminate()
        wait_until(lambda: running.exit_status() is not None, what="the end")
        assert running.exit_status() == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            wait_until(lambda: os.killpg(running.pid, 0), what="the end of the group")


def test_signal_to_an_exited_group() -> None:
    """A signal to a group that has exited is not an error."""
    with child("true") as running:
        wait_until(lambda: running.exit_status() is not None, what="the end")
        running.terminate()
        running.kill()


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 65536, 1_000_000])
def test_unsent_input(size: int) -> None:
    """Input that the pipe does not take at once remains to be sent."""
    with child("sleep", "300", first_input=b"q" * size) as running:
        sent = size - len(running.unsent)
        assert bytes(running.unsent) == b"q" * (size - sent)
        assert sent == size if size <= 4096 else 4096 <= sent <= size


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_an_input_is_not_kept_after_it_is_sent(size: int) -> None:
    text = bytes(size)
    references = sys.getrefcount(text)
    with child("/bin/sh", "-c", "cat >/dev/null") as running:
        running.send(text)
        wait_until(running.send_more, what="the end of the input")
        assert sys.getrefcount(text) == references


def test_abandoned_process(recwarn: pytest.WarningsRecorder) -> None:
    """An abandoned process causes no warning."""
    given_up = start("sleep", "300")
    pid = given_up.pid
    given_up.tree.unregister()
    given_up.close()
    del given_up
    assert not recwarn.list
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@contextmanager
def descriptors_left(number: int) -> Iterator[None]:
    """Inside, only so many more descriptors can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = open_descriptors(os.getpid()) + 50 + number
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(number):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


async def test_no_free_descriptors(run_command: RunCommand, context: HandlerContext, tmp_path: Path) -> None:
    """Without free descriptors a command is not started, and nothing leaks."""
    assert (await run_command("true")).result == b""
    handler = handler_of(function_of(tmp_path, "exec sleep 300", timeout=0.05), context)
    before = open_descriptors(os.getpid())
    reasons = set()
    for number in range(25):
        with descriptors_left(number):
            failure = (await run(handler)).failed
        reasons.add(failure.reason.value)
        if failure.reason == "not_started":
            assert "the launcher has no free file descriptor" in failure.message
        assert open_descriptors(os.getpid()) == before, number
    assert reasons == {"not_started", "timeout"}
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_failed_watch() -> None:
    """A process that starts but cannot be watched is killed; the test searches for such a descriptor limit."""
    registry: set[ProcessTree] = set()
    before = open_descriptors(os.getpid())
    messages = []

    def end(running: Child) -> None:
        running.kill()
        wait_until(lambda: running.exit_status() is not None, what="the end")
        running.tree.unregister()
        running.close()

    for number in range(25):
        try:
            with descriptors_left(number):
                running = start("sleep", "300", registry=registry)
        except NotStartedError as error:
            messages.append((str(error), error.failure.exit_code))
            assert open_descriptors(os.getpid()) == before, number
        else:
            end(running)
    assert messages
    assert all(exit_code is None for _, exit_code in messages)
    assert open_descriptors(os.getpid()) == before
    assert not registry
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_bytes_in_a_pipe(tmp_path: Path) -> None:
    """The bytes in a pipe are counted at either end."""
    read, write = os.pipe()
    os.write(write, b"abc")
    assert (bytes_in(read), bytes_in(write)) == (3, 3)
    os.close(read)
    os.close(write)
    with pytest.raises(OSError, match="Bad file descriptor"):
        bytes_in(read)
    fd = os.open(tmp_path, os.O_RDONLY)  # a folder has no such number
    assert bytes_in(fd) == 0
    os.close(fd)


def no_pidfds(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.mark.parametrize("pidfds", [True, False])
def test_an_orphan_is_held_and_seen_to_end(monkeypatch: pytest.MonkeyPatch, pidfds: bool) -> None:
    if not pidfds:
        monkeypatch.setattr(os, "pidfd_open", no_pidfds)
    process = subprocess.Popen(["sleep", "300"])
    orphan = Orphan(process.pid)
    assert orphan.is_running()
    assert (orphan.pidfd is not None) is pidfds
    orphan.send(signal.SIGKILL)
    wait_until(lambda: not orphan.is_running(), what="the end")
    process.wait()
    assert not orphan.is_running()
    orphan.send(signal.SIGKILL)
    orphan.close()
    orphan.close()


def test_members_of_a_tree() -> None:
    """A tree owns its session and each process that inherits its tag, even in another session without environment."""
    tagged = "import resource, os; resource.setrlimit(resource.RLIMIT_RTTIME, ({}, -1)); os.execvpe(*{!r})"
    tag = new_tag()
    sleep = ("sleep", ["sleep", "300"], {"PATH": os.environ["PATH"]})
    elsewhere = ("setsid", ["setsid", "sleep", "300"], {"PATH": os.environ["PATH"]})
    processes = {
        "own": subprocess.Popen([sys.executable, "-c", tagged.format(tag, elsewhere)]),
        "member": subprocess.Popen(["sleep", "300"], start_new_session=True),
        "other": subprocess.Popen(["sleep", "300"]),
        "similar": subprocess.Popen([sys.executable, "-c", tagged.format(new_tag(), sleep)]),
    }
    owner = ProcessTree(processes["member"].pid, tag, set())
    try:
        wait_until(lambda: all(_has_begun(p) for p in processes.values()), what="the start")
        assert {name for name, p in processes.items() if owner._owns(p.pid)} == {"own", "member"}
        assert process_tag(processes["own"].pid) == tag
        assert not owner._owns(2**22 + 1)
    finally:
        owner.unregister()
        for process in processes.values():
            process.kill()
            process.wait()


def _has_begun(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/comm").read_bytes() == b"sleep\n"


def test_scan_for_children() -> None:
    """The scan finds the same children as the kernel's list."""
    processes = [subprocess.Popen(["sleep", "300"]) for _ in range(3)]
    try:
        pids = {process.pid for process in processes}
        assert pids <= set(termination._children_by_scan())
        assert os.getppid() not in termination._children_by_scan()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_process_that_is_gone_has_no_parent(tmp_path: Path) -> None:
    assert termination._parent(tmp_path) == 0
    (tmp_path / "stat").write_bytes(b"7 (a) b) S 42 7 7")
    assert termination._parent(tmp_path) == 42
    (tmp_path / "stat").write_bytes(b"")
    assert termination._parent(tmp_path) == 0


def test_a_process_that_ended_counts_as_ended() -> None:
    process = subprocess.Popen(["true"])
    wait_until(lambda: has_ended(process.pid), what="the end")
    orphan = Orphan(process.pid)
    assert not orphan.is_running()
    orphan.close()
    process.wait()
