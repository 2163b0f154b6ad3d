"""Nothing that a handler started outlives its job, and nothing of another job is touched."""

import os
import sys
from pathlib import Path

import pytest

from tests.support import toml
from tests.support.bad_handlers.catalogue import SCRIPTS
from tests.support.driver import Driver, drive
from tests.support.processes import children, wait_until

PYTHON = (sys.executable, "-S", "-E")
WITHOUT: list[tuple[str, ...]] = [(), ("pidfds",), ("children",), ("pidfds", "children")]

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        with open(sys.argv[1] + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(300)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.005)
"""
"""Leaves the session by a double fork; returns when the daemon has written its process id to a file."""


def handled(name: str, command: str | tuple[str, ...], **options: object) -> str:
    return toml.function(name, command, **options)


def script(name: str) -> tuple[str, ...]:
    path = str(SCRIPTS / name)
    return (*PYTHON, path) if name.endswith(".py") else ("/bin/sh", path)


def is_alive(pid: int) -> bool:
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def assert_clean(driver: Driver) -> None:
    """At the end no process, no zombie, no descriptor is left."""
    done = driver.finish()
    assert done["more_descriptors"] <= 1, done  # the list of children, which stays open
    assert done["trees"] == 0
    driver.wait_until_alone()


LEAVERS = {
    "keeps stdout open": "sleep 300 & printf result",
    "writes to stdout": "(trap '' PIPE; while :; do echo noise; sleep 0.01; done) & printf result; sleep 0.1",
    "floods stderr": "(trap '' PIPE; exec yes noise >&2) & printf result",
    "ignores TERM": "(trap '' TERM; while :; do sleep 300; done) >/dev/null 2>&1 & printf result",
    "is stopped": "sh -c 'kill -STOP $$; sleep 300' >/dev/null 2>&1 & printf result; sleep 0.1",
    "many": "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 300 & done; printf result",
    "a short one": "(sleep 0.2; exit 3) & printf result",
    "another group": "setsid sleep 300 & printf result; sleep 0.1",
    "another group, no TERM": "trap '' TERM; setsid sh -c 'while :; do sleep 300; done' & printf result; sleep 0.1",
}


@pytest.mark.parametrize("without", WITHOUT, ids=repr)
def test_orphans(tmp_path: Path, without: tuple[str, ...]) -> None:
    """The processes that a command leaves do not delay its result, and are ended."""
    config = "".join(handled(name, command) for name, command in LEAVERS.items())
    jobs = [(name, name) for name in LEAVERS]
    with drive(tmp_path, config, jobs, without=without, at_once=True) as driver:
        for name in LEAVERS:
            assert b"result" in driver.result(name), name
        assert_clean(driver)


@pytest.mark.parametrize("without", WITHOUT, ids=repr)
@pytest.mark.parametrize("name", ["daemonizes.py", "respawns_on_term.py"])
def test_orphans_in_other_sessions(tmp_path: Path, name: str, without: tuple[str, ...]) -> None:
    """A process that leaves the session is found by its environment."""
    with drive(tmp_path, handled("f", script(name)), [("a", "f"), ("b", "f")], without=without) as driver:
        for job_id in ("a", "b"):
            assert driver.result(job_id) == b"result"
        assert_clean(driver)


@pytest.mark.parametrize("without", WITHOUT, ids=repr)
def test_a_daemon_of_another_job_is_left_alone(tmp_path: Path, without: tuple[str, ...]) -> None:
    """Job "one" ends while "two" still runs, and both have a daemon that the launcher has adopted."""
    daemons = {name: tmp_path / f"{name}.pid" for name in ("one", "two")}
    release = {name: tmp_path / f"{name}.release" for name in daemons}
    code = DAEMON + "\nwhile not os.path.exists(sys.argv[2]):\n    time.sleep(0.005)\n"
    config = "".join(handled(name, (*PYTHON, "-c", code, str(daemons[name]), str(release[name]))) for name in daemons)
    with drive(tmp_path, config, [("one", "one"), ("two", "two")], at_once=True, without=without) as driver:
        for path in daemons.values():
            wait_until(path.exists, what=f"the daemon of {path.stem}")
        pids = {name: int(path.read_text()) for name, path in daemons.items()}
        release["one"].touch()
        assert driver.result("one") == b""
        assert not is_alive(pids["one"])
        assert is_alive(pids["two"])
        release["two"].touch()
        assert driver.result("two") == b""
        assert not is_alive(pids["two"])
        assert_clean(driver)


def test_a_timeout_ends_what_left_the_session_too(tmp_path: Path) -> None:
    config = handled("f", script("ignores_term_in_other_group.sh"), timeout=0.3)
    with drive(tmp_path, config, [("a", "f")]) as driver:
        assert driver.wait_for_job("a")["reason"] == "timeout"
        assert_clean(driver)


def test_orphans_without_environment(tmp_path: Path) -> None:
    """A process that leaves the session with an empty environment is ended."""
    config = handled("f", "env -i setsid -f sleep 93; sleep 0.1; printf result")
    with drive(tmp_path, config, [(f"{n}", "f") for n in range(10)], at_once=True) as driver:
        assert {driver.result(f"{n}") for n in range(10)} == {b"result"}
        assert_clean(driver)


def test_chain_of_forks(tmp_path: Path) -> None:
    """A chain of processes is ended although each starts the next one in a new session and exits."""
    code = (
        "import os, time\n"
        "for generation in range(40):\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        "    os.setsid()\n"
        "    time.sleep(0.005)\n"
        "time.sleep(300)\n"
    )
    with drive(tmp_path, handled("f", (*PYTHON, "-c", code)), [("a", "f")]) as driver:
        driver.wait_for_job("a")
        assert_clean(driver)


@pytest.mark.parametrize(
    ("without", "rounds"),
    [((), 25), (("pidfds",), 25), (("children",), 4), (("pidfds", "children"), 4)],  # without the list each job is slow
    ids=repr,
)
def test_no_leaks(tmp_path: Path, without: tuple[str, ...], rounds: int) -> None:
    """Many jobs leave no descriptor, no zombie and no thread."""
    config = (
        handled("plain", ("cat",))
        + handled("orphan", "(sleep 0.01) >/dev/null 2>&1 & cat")
        + handled("fails", "exit 1")
        + handled("missing", ("no-such-program",))
    )
    names = ["plain", "orphan", "plain", "fails", "plain", "missing", "plain", "plain"]
    jobs = [(f"{n}-{name}", name, str(n)) for n, name in enumerate(names * rounds)]
    with drive(tmp_path, config, jobs, without=without) as driver:
        for job_id, name, query in jobs:
            if name in ("plain", "orphan"):
                assert driver.result(job_id) == query.encode()
        done = driver.finish()
        assert done["more_descriptors"] <= 1
        assert "children" in without or done["children"] == []
        assert {job["threads"] for job in driver.jobs.values()} == {1}


def test_zombies_of_a_running_job(tmp_path: Path) -> None:
    """Grandchildren of a long job that exit as orphans are reaped while the job runs."""
    release = tmp_path / "release"
    code = f"for n in 1 2 3 4 5; do (true &) ; done; while ! [ -e {release} ]; do sleep 0.01; done"
    with drive(tmp_path, handled("f", code), [("a", "f")]) as driver:
        wait_until(driver.descendants, what="the job")
        wait_until(
            lambda: [p for p in children(driver.process.pid) if p.state != "Z"] == children(driver.process.pid),
            what="the end of all zombies",
        )
        release.touch()
        assert_clean(driver)


@pytest.mark.parametrize("without", [(), ("pidfds",)], ids=repr)
def test_first_signal(tmp_path: Path, without: tuple[str, ...]) -> None:
    """The first signal ends jobs and their processes."""
    daemon = tmp_path / "daemon.pid"
    code = DAEMON + "\ntime.sleep(300)\n"
    with drive(tmp_path, handled("f", (*PYTHON, "-c", code, str(daemon))), [("a", "f")], without=without) as driver:
        wait_until(daemon.exists, what="the daemon")
        os.kill(driver.process.pid, 15)
        assert driver.wait_for_job("a")["reason"] == "shutdown"
        assert_clean(driver)
        assert driver.reports[0] == {"signal": "SIGTERM", "count": 1}


@pytest.mark.parametrize("number", [2, 15])
def test_a_second_signal_ends_all_at_once(tmp_path: Path, number: int) -> None:
    daemon = tmp_path / "daemon.pid"
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + DAEMON + "\ntime.sleep(300)\n"
    with drive(tmp_path, handled("f", (*PYTHON, "-c", code, str(daemon))), [("a", "f")]) as driver:
        wait_until(daemon.exists, what="the daemon")
        os.kill(driver.process.pid, 15)
        driver.wait_for(signal="SIGTERM", count=1)
        os.kill(driver.process.pid, number)
        driver.wait_for(count=2)
        driver.wait_for(end="program")
        driver.wait_until_alone()


def test_no_subreaper(tmp_path: Path) -> None:
    """Without a subreaper orphans are not found, and jobs are answered without delay."""
    config = handled("f", "sleep 0.5 & printf result") + handled("g", ("cat",))
    with drive(tmp_path, config, [("a", "f"), ("b", "g", "q")], without=("subreaper", "pidfds")) as driver:
        assert driver.result("a") == b"result"
        assert driver.result("b") == b"q"
        assert driver.finish()["children"] == []
