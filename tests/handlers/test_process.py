"""One child process: its start, its end, its descriptors, and what watches it."""

import errno
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cm_exec.handlers.exchange import bytes_in
from cm_exec.handlers.exit_watch import PidfdWatch, SigchldWatch, announce_exits, has_pidfds, watch_exit
from cm_exec.handlers.handler import Surroundings
from cm_exec.handlers.orphans import Family, Orphan
from cm_exec.handlers.process import Child, NotStartedError
from tests.support.handling import Ran, function_of, handler_of, run

from cm_exec.handlers import exit_watch, orphans
from cm_exec.handlers import process as process_module
from tests.support.processes import open_descriptors, wait_until

RunCommand = Callable[..., Ran]
ENVIRONMENT = {b"PATH": os.environb[b"PATH"], b"MARK": b"a"}


@contextmanager
def child(*argv: str, first_input: bytes = b"") -> Iterator[Child]:
    made = Child(argv, env=ENVIRONMENT, cwd=Path("/"), marker=b"MARK=a", register=set(), first_input=first_input)
    try:
        yield made
    finally:
        made.kill()
        wait_until(lambda: made.exit_status() is not None, what="the end of the child")
        made.close()


def no_pidfds(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def is_readable(watch: exit_watch.ExitWatch, seconds: float = 0) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def test_the_exit_status_is_there_as_soon_as_the_watch_tells_and_stays(tmp_path: Path) -> None:
    del tmp_path
    with child("/bin/sh", "-c", "read line; exit 7") as running:
        assert running.exit_status() is None
        assert not is_readable(running.exit_watch)
        running.close_stdin()
        assert is_readable(running.exit_watch, 30)
        running.exit_watch.acknowledge()
        assert (running.exit_status(), running.exit_status()) == (7, 7)


def test_a_signal_reaches_the_whole_group_also_where_it_is_stopped() -> None:
    with child("/bin/sh", "-c", "sleep 300 & kill -STOP $$; wait") as running:
        wait_until(lambda: b") T" in Path(f"/proc/{running.pid}/stat").read_bytes(), what="the stop")
        running.terminate()
        wait_until(lambda: running.exit_status() is not None, what="the end")
        assert running.exit_status() == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            wait_until(lambda: os.killpg(running.pid, 0), what="the end of the group")


def test_signals_to_a_group_that_is_gone_are_no_error() -> None:
    with child("true") as running:
        wait_until(lambda: running.exit_status() is not None, what="the end")
        running.terminate()
        running.kill()


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 65536, 1_000_000])
def test_what_the_pipe_does_not_take_at_once_is_left_to_send(size: int) -> None:
    with child("sleep", "300", first_input=b"q" * size) as running:
        sent = size - len(running.unsent)
        assert bytes(running.unsent) == b"q" * (size - sent)
        assert sent == size if size <= 4096 else 4096 <= sent <= size


def test_a_process_that_is_given_up_is_nobody_s_to_warn_of(recwarn: pytest.WarningsRecorder) -> None:
    given_up = Child(("sleep", "300"), env=ENVIRONMENT, cwd=Path("/"), marker=b"MARK=a", register=set())
    pid = given_up.pid
    given_up.close()
    del given_up
    assert not recwarn.list
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_best_watch_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with child("sleep", "300") as running:
        assert has_pidfds() is isinstance(running.exit_watch, PidfdWatch)
        monkeypatch.setattr(os, "pidfd_open", no_pidfds)
        assert not has_pidfds()
        watch = watch_exit(running.pid)
        assert isinstance(watch, SigchldWatch)
        watch.close()
        monkeypatch.delattr(os, "pidfd_open")
        assert not has_pidfds()
        watch = watch_exit(running.pid)
        assert isinstance(watch, SigchldWatch)
        watch.close()


def test_a_watch_without_pidfds_is_woken_by_each_announcement() -> None:
    one, other = SigchldWatch(), SigchldWatch()
    assert is_readable(one)  # the process may have ended before anybody watched
    one.acknowledge()
    one.acknowledge()
    assert not is_readable(one)
    for _ in range(100_000):
        one.wake()  # more than the pipe holds, and never blocks
    one.acknowledge()
    other.acknowledge()
    other.close()
    announce_exits()
    assert is_readable(one)
    one.close()
    assert not exit_watch._watches


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


def test_without_descriptors_a_command_is_not_started_and_nothing_leaks(
    run_command: RunCommand, shared: Surroundings, tmp_path: Path
) -> None:
    assert run_command("true").result == b""
    handler = handler_of(function_of(tmp_path, "exec sleep 300", timeout=0.05), shared)
    before = open_descriptors(os.getpid())
    reasons = set()
    for number in range(25):
        with descriptors_left(number):
            ran = run(handler)
        assert ran.failure is not None
        reasons.add(ran.reason)
        if ran.reason == "not_started":
            assert "too many open files" in ran.failure.message
        assert open_descriptors(os.getpid()) == before, number
    assert reasons == {"not_started", "timeout"}
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_process_that_cannot_be_watched_does_not_run(shared: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(_: int) -> exit_watch.ExitWatch:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(process_module, "watch_exit", no_descriptor)
    before = open_descriptors(os.getpid())
    with pytest.raises(NotStartedError, match="too many open files"):
        Child(("sleep", "300"), env=ENVIRONMENT, cwd=Path("/"), marker=b"MARK=a", register=shared.families)
    assert open_descriptors(os.getpid()) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_process_that_another_thread_has_reaped_counts_as_ended() -> None:
    with child("true") as running:
        assert is_readable(running.exit_watch, 30)
        os.waitpid(running.pid, 0)
        assert running.exit_status() == 0


def test_elsewhere_than_on_linux_nothing_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not orphans.become_subreaper()
    with subprocess.Popen(["true"]) as own:
        os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
        orphans.reap_adopted()
        assert own.wait() == 0


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EBADF])
def test_what_a_pipe_holds_is_unknown_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    read, write = os.pipe()
    os.write(write, b"abc")
    assert (bytes_in(read), bytes_in(write)) == (3, 3)

    def refuse(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    if number == errno.EBADF:
        with pytest.raises(OSError, match="Bad file descriptor"):
            bytes_in(read)
    else:
        assert bytes_in(read) == 0
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("pidfds", [True, False])
def test_an_orphan_is_held_and_seen_to_end(monkeypatch: pytest.MonkeyPatch, pidfds: bool) -> None:
    if not pidfds:
        monkeypatch.setattr(os, "pidfd_open", no_pidfds)
    process = subprocess.Popen(["sleep", "300"])
    orphan = Orphan(process.pid)
    assert orphan.is_alive()
    assert (orphan.pidfd is not None) is pidfds
    orphan.send(signal.SIGKILL)
    wait_until(lambda: not orphan.is_alive(), what="the end")
    process.wait()
    assert not orphan.is_alive()
    orphan.send(signal.SIGKILL)
    orphan.close()
    orphan.close()


def test_a_family_knows_its_own_by_session_or_environment() -> None:
    elsewhere = {**os.environ, "CM_JOB_ID": "other"}
    own = subprocess.Popen(["sleep", "300"], env={**os.environ, "CM_JOB_ID": "own"})
    member = subprocess.Popen(["sleep", "300"], env=elsewhere, start_new_session=True)
    other = subprocess.Popen(["sleep", "300"], env={**elsewhere, "X": "CM_JOB_ID=own"})
    similar = subprocess.Popen(["sleep", "300"], env={**os.environ, "CM_JOB_ID": "own too"})
    family = Family(member.pid, b"CM_JOB_ID=own", set())
    try:
        wait_until(lambda: all(_has_begun(p) for p in (own, member, other, similar)), what="the start")
        assert [family._owns(p.pid) for p in (own, member, other, similar)] == [True, True, False, False]
        assert not family._owns(2**22 + 1)
    finally:
        for process in (own, member, other, similar):
            process.kill()
            process.wait()


def _has_begun(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/comm").read_bytes() == b"sleep\n"


def test_the_scan_finds_the_same_children_as_the_kernel_s_list() -> None:
    processes = [subprocess.Popen(["sleep", "300"]) for _ in range(3)]
    try:
        pids = {process.pid for process in processes}
        assert pids <= set(orphans._children_by_scan())
        assert os.getppid() not in orphans._children_by_scan()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_process_that_is_gone_has_no_parent(tmp_path: Path) -> None:
    assert orphans._parent(tmp_path) == 0
    (tmp_path / "stat").write_bytes(b"7 (a) b) S 42 7 7")
    assert orphans._parent(tmp_path) == 42
    (tmp_path / "stat").write_bytes(b"")
    assert orphans._parent(tmp_path) == 0
