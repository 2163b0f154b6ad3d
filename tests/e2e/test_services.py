"""Services with the message protocol, through the installed cm-exec and a real runtime."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.answers import error_of
from tests.support.processes import has_ended, wait_until
from tests.support.replica import unmeasured
from tests.support.request_log import Endpoint
from tests.support.toml import function, served, service, table
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

HANDLER: Final = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "envelope_handler.py")]
LOOP: Final = [sys.executable, "-S", "-E", str(Path(__file__).parents[1] / "support" / "loop_handler.py")]
PATIENCE: Final = 90.0


def multiplexed(*arguments: str, **options: object) -> str:
    """Return the service `s`: one process that takes up to 16 jobs at a time."""
    return service("s", [*HANDLER, *arguments], **{"processes": 1, "jobs_per_process": 16, **options})


def submit(harness: WorkerHarness, *query: object, to: str = "f") -> str:
    return harness.runtime.submit(to, json.dumps(query).encode())


def ask(harness: WorkerHarness, *query: object, to: str = "f") -> Any:
    return json.loads(bytes(harness.runtime.result(submit(harness, *query, to=to), seconds=PATIENCE).body))


def error(harness: WorkerHarness, *query: object) -> dict[str, Any]:
    return error_of(harness.runtime.result(submit(harness, *query), seconds=PATIENCE), function="f")


def hold(harness: WorkerHarness, number: int) -> tuple[str, Path]:
    """Submit a job that holds until a file exists, and wait until the service has it."""
    ready, go = harness.folder / f"ready-{number}", harness.folder / f"go-{number}"
    job = submit(harness, "hold", str(ready), str(go), number)
    wait_until(ready.exists, what="the job in the service")
    return job, go


def test_several_functions_share_one_process(harness: WorkerHarness) -> None:
    worker = harness.start(
        service("s", HANDLER) + served("f") + served("g") + function("other", "cat"), "--concurrency", "1"
    )
    assert ask(harness, "pid") == ask(harness, "pid", to="g")
    assert ask(harness, "members", to="g")["queryType"] == "g"
    assert len(worker.descendants()) == 1


def test_sixteen_jobs(harness: WorkerHarness) -> None:
    """Sixteen concurrent jobs are answered in any order."""
    worker = harness.start(multiplexed() + served("f"), "--concurrency", "16")
    held = [hold(harness, number) for number in range(16)]
    assert len(worker.descendants()) == 1
    for number, (job, go) in reversed(list(enumerate(held))):
        go.touch()
        assert bytes(harness.runtime.result(job).body) == b"%d" % number
    assert all(len(harness.runtime.posts(job)) == 1 for job, _ in held)


def test_error_of_a_handler(harness: WorkerHarness) -> None:
    """An error fails the job and keeps the process."""
    harness.start(multiplexed() + served("f"))
    pid = ask(harness, "pid")
    failed = error(harness, "members_of", {"error": "no such book"})
    assert (failed["error"], failed["reason"]) == ("no such book", "handler")
    assert "exitCode" not in failed
    job = submit(harness, "members_of", {"error": {"code": 7}})
    assert json.loads(bytes(harness.runtime.result(job).body))["error"] == {"code": 7}
    assert ask(harness, "pid") == pid


def test_chunks_are_posted_as_they_come(harness: WorkerHarness) -> None:
    harness.start(multiplexed() + served("f", stream=True), "--concurrency", "2")
    go = harness.folder / "go"
    job = submit(harness, "stream", str(go), {"token": "a"}, "b")
    runtime = harness.runtime
    runtime.request_log.wait_for(
        lambda: any(bytes(post.body) == b'{"token": "a"}' for post in runtime.posts(job)), what="the first chunk"
    )
    assert ask(harness, "members_of", {"chunk": 1}, {"end": True}) == 1
    go.touch()
    assert bytes(runtime.result(job).body) == b'{"token": "a"}"b"'
    assert len(runtime.posts(job)) == 1


def test_log_lines_carry_their_job(harness: WorkerHarness) -> None:
    worker = harness.start(multiplexed() + served("f"), "--log-format", "sls")
    job = submit(harness, "members_of", {"log": "half way"}, {"result": 1})
    assert bytes(harness.runtime.result(job).body) == b"1"
    wait_until(
        lambda: any("half way" in line and job in line for line in worker.log.splitlines()), what="the line in the log"
    )


def test_late_result(harness: WorkerHarness) -> None:
    """The late result of a job that has timed out reaches no caller."""
    harness.start(multiplexed() + served("f", timeout=1), "--concurrency", "2")
    pid = ask(harness, "pid")
    late = submit(harness, "until_cancelled", str(harness.folder / "ready"))
    assert error_of(harness.runtime.result(late))["reason"] == "timeout"
    assert [ask(harness, "echo", number) for number in range(5)] == list(range(5))
    assert ask(harness, "pid") == pid
    assert len(harness.runtime.posts(late)) == 1


def test_unanswered_cancel(harness: WorkerHarness) -> None:
    """A process that never answers a cancelled job is replaced."""
    harness.start(multiplexed() + served("f", timeout=1), "--concurrency", "2")
    pid = ask(harness, "pid")
    assert error(harness, "forget", str(harness.folder / "ready"))["reason"] == "timeout"
    assert ask(harness, "pid") != pid
    wait_until(lambda: has_ended(pid), what="the end of the old process")


def test_unanswered_cancel_beside_others(harness: WorkerHarness) -> None:
    """Where a process still sends messages for its other jobs, these end before it is replaced."""
    worker = harness.start(multiplexed() + served("f", timeout=1) + served("g", timeout=600), "--concurrency", "4")
    pid = ask(harness, "pid")
    go = harness.folder / "go"
    other = submit(harness, "log_until", str(go), "unharmed", to="g")
    assert error(harness, "forget", str(harness.folder / "ready"))["reason"] == "timeout"
    wait_until(lambda: "it is replaced when its other jobs are over" in worker.log, what="the line in the log")
    go.touch()
    assert bytes(harness.runtime.result(other).body) == b'"unharmed"'
    assert ask(harness, "pid") != pid
    wait_until(lambda: has_ended(pid), what="the end of the old process")


def test_unanswered_cancel_in_a_silent_process(harness: WorkerHarness) -> None:
    """Where a process sends nothing more, its other jobs fail with it."""
    harness.start(multiplexed() + served("f", timeout=1) + served("g", timeout=600), "--concurrency", "4")
    ready = harness.folder / "held"
    other = submit(harness, "hold", str(ready), str(harness.folder / "never"), 1, to="g")
    wait_until(ready.exists, what="the job in the service")
    assert error(harness, "forget", str(harness.folder / "ready"))["reason"] == "timeout"
    failed = error_of(harness.runtime.result(other, seconds=PATIENCE), function="g")
    assert failed["reason"] == "timeout"
    assert "was cancelled because another job did not end" in failed["error"]
    assert "600" not in failed["error"], "it was far from its own timeout"
    assert ask(harness, "echo", 1) == 1


@pytest.mark.parametrize(
    "text",
    ['{"result": 1}', '{"jobId": "nobody", "result": 1}', '{"jobId": "nobody"}', "a print", '{"ready": 1}', "[]", "1"],
)
def test_desync(harness: WorkerHarness, text: str) -> None:
    """A message that answers no job fails each job of its process."""
    harness.start(multiplexed() + served("f"), "--concurrency", "4")
    pid = ask(harness, "pid")
    held = [hold(harness, number)[0] for number in range(3)]
    jobs = [*held, submit(harness, "raw", f"{text}\n")]
    for job in jobs:
        failed = error_of(harness.runtime.result(job), function="f")
        assert (failed["reason"], failed["jobId"], failed["output"].strip()) == ("out_of_step", job, text)
    assert ask(harness, "pid") != pid
    assert all(len(harness.runtime.posts(job)) == 1 for job in jobs)


def test_a_job_id_alone_is_no_answer(harness: WorkerHarness) -> None:
    harness.start(multiplexed() + served("f"))
    pid = ask(harness, "pid")
    assert error(harness, "members_of", {})["reason"] == "out_of_step"
    assert ask(harness, "pid") != pid


def test_exit(harness: WorkerHarness) -> None:
    """A process that dies fails its jobs."""
    harness.start(multiplexed() + served("f"), "--concurrency", "16")
    held = [hold(harness, number)[0] for number in range(8)]
    for job in [*held, submit(harness, "exit", 3)]:
        failed = error_of(harness.runtime.result(job), function="f")
        assert (failed["reason"], failed["exitCode"], failed["jobId"]) == ("exit", 3, job)
    assert ask(harness, "echo", "next") == "next"


def test_no_poll_before_the_service_is_ready(harness: WorkerHarness) -> None:
    """The worker does not poll before its service is ready."""
    ready = harness.folder / "ready"
    worker = harness.launch(multiplexed("ready", str(ready), ready="message") + served("f") + function("g", "cat"))
    wait_until(worker.descendants, what="the start of the service")
    polls_before = harness.runtime.request_log.all(Endpoint.JOB)
    assert harness.cm_exec("ready", environment=harness.environment()).returncode == 1
    assert not polls_before
    assert not harness.runtime.request_log.all(Endpoint.JOB)
    ready.touch()
    worker.wait_until_ready()
    assert ask(harness, "echo", 1) == 1


def test_slow_service(harness: WorkerHarness) -> None:
    """A service that is not ready for a long time is reported once."""
    ready = harness.folder / "ready"
    config = service("s", [*HANDLER, "ready", str(ready)], processes=2, ready="message", start_timeout=60)
    worker = harness.launch(config + served("f") + served("g"), "--concurrency", "2")
    what = "its process has not sent its ready message yet; start_timeout is 60 s"
    worker.wait_for_log(f"service s is not ready after 5 s: {what}")
    ready.touch()
    worker.wait_until_ready()
    worker.wait_for_log("service s: ready, processes: 2")
    assert worker.log.count("is not ready after") == 1


def test_replaced_processes_are_no_news(harness: WorkerHarness) -> None:
    """A state that lasts for a moment only is not logged, however often it comes."""
    worker = harness.start(multiplexed(max_jobs=1) + served("f"))
    for number in range(5):
        assert ask(harness, "echo", number) == number
    worker.wait_for_log("service s: ready, processes: 1")
    assert worker.log.count("service s: starting") == 1


def test_start_timeout(harness: WorkerHarness) -> None:
    """A service that was not ready in time is reported."""
    worker = harness.start(service("s", "sleep 300", start_timeout=1, processes=1) + served("f") + served("g"))
    worker.wait_for_log("the process of 's' was not ready within 1 s")
    worker.wait_for_log("service s: failed, processes: 0")


@pytest.mark.parametrize("protocol", ["lines", "content-length"])
def test_ready_message(harness: WorkerHarness, protocol: str) -> None:
    """A process without the envelope may announce that it is ready."""
    sign = '{"ready": true}'
    frame = "Content-Length: 15\\r\\n\\r\\n" + sign
    text = f"{sign}\\n" if protocol == "lines" else frame
    config = function(
        "f",
        f"while [ ! -e go ]; do sleep 0.01; done; printf '{text}'; exec cat",
        mode="persistent",
        protocol=protocol,
        ready="message",
        timeout=1,
    )
    harness.start(config + table("launcher", wait_for_services=False), "--concurrency", "2")
    jobs = [harness.runtime.submit("f", b"%d" % number) for number in range(3)]
    harness.runtime.wait_until_handed_out(jobs[0])
    harness.folder.joinpath("go").touch()
    assert [bytes(harness.runtime.result(job).body) for job in jobs] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("waits", [True, False])
def test_the_start_is_not_part_of_a_job(harness: WorkerHarness, waits: bool) -> None:
    """Loading takes three times as long as a job may take, and no job fails."""
    launcher = table("launcher", wait_for_services=waits)
    harness.start(multiplexed("load", "3") + served("f", timeout=1) + launcher, "--concurrency", "4")
    jobs = [submit(harness, "echo", number) for number in range(6)]
    assert [bytes(harness.runtime.result(job, seconds=PATIENCE).body) for job in jobs] == [b"%d" % n for n in range(6)]


def test_polls_need_not_wait_for_services(harness: WorkerHarness) -> None:
    ready = harness.folder / "ready"
    launcher = table("launcher", wait_for_services=False)
    config = multiplexed("ready", str(ready), ready="message") + served("f") + function("g", "cat") + launcher
    harness.start(config, "--concurrency", "2")
    job = submit(harness, "echo", 1)
    harness.runtime.wait_until_handed_out(job)
    assert harness.runtime.call("g", b"2") == b"2"
    assert not harness.runtime.posts(job)
    ready.touch()
    assert bytes(harness.runtime.result(job).body) == b"1"


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("exec /no/such/program", "status 127"),
        (["/no/such/program"], "/no/such/program"),
        ("cat", "within 1 s"),
        ("echo banner; cat", "before it was ready"),
    ],
)
@pytest.mark.parametrize("envelope", [True, False])
def test_service_that_does_not_start(
    harness: WorkerHarness, command: str | list[str], detail: str, envelope: bool
) -> None:
    """A service that does not start leaves other functions working."""
    broken = service("s", command, ready="message", start_timeout=1, envelope=envelope)
    harness.start(broken + served("f") + function("good", "cat"), "--concurrency", "2")
    assert harness.runtime.call("good", b"1") == b"1"
    failed = error(harness, "echo", 1)
    assert failed["reason"] == "not_started"
    assert detail in failed["error"]
    assert harness.runtime.call("good", b"2") == b"2"


@pytest.mark.parametrize("protocol", ["lines", "content-length"])
def test_exit_before_the_query(harness: WorkerHarness, protocol: str) -> None:
    """A process that dies before it has read its query was not started."""
    command = "echo start >>starts; echo 'no memory' >&2; exit 3"
    launcher = table("launcher", wait_for_services=False)
    harness.start(function("f", command, mode="persistent", protocol=protocol) + launcher, "--concurrency", "1")
    failed = error(harness, "echo", 1)
    assert (failed["reason"], failed["exitCode"], failed["stderr"]) == ("not_started", 3, "no memory\n")
    assert len(harness.folder.joinpath("starts").read_text().split()) >= 3


@pytest.mark.parametrize("envelope", [True, False])
def test_failed_restart(harness: WorkerHarness, envelope: bool) -> None:
    """Jobs do not wait for a service that cannot restart."""
    broken = "[ ! -e broken ] || { echo 'no memory' >&2; exit 4; }"
    handler = HANDLER if envelope else LOOP
    harness.start(service("s", f"{broken}; exec {shlex.join(handler)}", envelope=envelope) + served("f"))
    pid = ask(harness, "pid")
    harness.folder.joinpath("broken").touch()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid), what="the end of the process")
    for _ in range(20):
        failed = error(harness, "echo", 1)
        assert (failed["reason"], failed["exitCode"], failed["stderr"]) == ("not_started", 4, "no memory\n")
    harness.folder.joinpath("broken").unlink()
    wait_until(lambda: ask(harness, "echo", 1) == 1, what="the next start", seconds=PATIENCE)


def test_max_jobs_replaces_a_process(harness: WorkerHarness) -> None:
    harness.start(multiplexed(max_jobs=3) + served("f"))
    pids = [ask(harness, "pid") for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_drain_finishes_the_jobs_of_a_service(harness: WorkerHarness) -> None:
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(multiplexed() + served("f"), "--concurrency", "4")
    held = [hold(harness, number) for number in range(4)]
    worker.terminate()
    assert harness.cm_exec("ready", environment=harness.environment()).returncode == 1
    assert worker.is_running()
    for _, go in held:
        go.touch()
    assert worker.wait() == 0
    assert [bytes(harness.runtime.result(job).body) for job, _ in held] == [b"0", b"1", b"2", b"3"]


def test_end_of_the_drain(harness: WorkerHarness) -> None:
    """A drain cancels the jobs that do not end in time."""
    harness.runtime.poll_seconds = 0.2
    worker = harness.start(multiplexed() + served("f"), "--concurrency", "4", "--drain-timeout", "0.5")
    held = [hold(harness, number)[0] for number in range(4)]
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    assert {error_of(harness.runtime.result(job))["reason"] for job in held} == {"shutdown"}


def test_drain(harness: WorkerHarness) -> None:
    """A drain sends the service the ids of the cancelled jobs."""
    harness.runtime.poll_seconds = 0.2
    silent = service("s", "trap '' TERM; exec cat >messages", processes=1, jobs_per_process=4)
    worker = harness.start(silent + served("f"), "--concurrency", "2", "--drain-timeout", "0.5")
    jobs = [submit(harness, number) for number in range(2)]
    messages = harness.folder / "messages"
    wait_until(lambda: len(messages.read_bytes().splitlines()) == 2, what="the jobs in the service")
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    cancels = [json.loads(line) for line in messages.read_text().splitlines()[2:]]
    assert sorted(cancels, key=str) == sorted(({"jobId": job, "cancel": True} for job in jobs), key=str)
    assert {error_of(harness.runtime.result(job))["reason"] for job in jobs} == {"shutdown"}
    worker.wait_until_alone()


@pytest.mark.parametrize("arguments", [(), ("frames",)], ids=["lines", "content-length"])
def test_drain_without_the_envelope(harness: WorkerHarness, arguments: tuple[str, ...]) -> None:
    """A drain without the envelope answers one job that ends in time and one that does not."""
    harness.runtime.poll_seconds = 0.2
    config = service("s", [*LOOP, *arguments], protocol="content-length" if arguments else "lines") + served("f")
    worker = harness.start(config, "--concurrency", "2", "--drain-timeout", "5")
    ready, go = ([harness.folder / f"{name}-{number}" for number in range(2)] for name in ("ready", "go"))
    jobs = [submit(harness, "wait_and_reply", str(ready[number]), str(go[number])) for number in range(2)]
    for path in ready:
        wait_until(path.exists, what="the job in its process")
    worker.terminate()
    go[0].touch()
    assert worker.wait(PATIENCE) == 0
    assert int(harness.runtime.result(jobs[0]).body) > 0
    assert error_of(harness.runtime.result(jobs[1]))["reason"] == "shutdown"
    worker.wait_until_alone()


def test_the_probe_says_whether_the_worker_polls(harness: WorkerHarness) -> None:
    environment = harness.environment()
    assert harness.cm_exec("ready", environment=environment).returncode == 1
    worker = harness.start(multiplexed() + served("f"))
    wait_until(lambda: harness.cm_exec("ready", environment=environment).returncode == 0, what="readiness")
    assert worker.stop() == 0
    done = harness.cm_exec("ready", environment=environment)
    assert (done.returncode, done.stdout) == (1, b"")


def test_probe_on_a_read_only_root(harness: WorkerHarness, unshare: tuple[str, ...]) -> None:
    """The probe works on a read-only root for a user without any rights of root, or for the user of the tests."""
    read_only = "mount -o remount,bind,ro /\n"
    harness.start(
        multiplexed() + served("f"), wrapper=[*unshare, "--mount", "sh", "-ec", read_only + 'exec "$@"', "sh"]
    )
    script, user = read_only, []
    if os.getuid() == 0:
        script = readable_by_all(harness.folder) + read_only
        user = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    command = [*unshare, "--mount", "sh", "-ec", script + 'cd / && exec "$@"', "sh", *user]
    environment = unmeasured(harness.environment())
    who = subprocess.run([*command, "id", "-u"], env=environment, capture_output=True, check=True)
    assert who.stdout == (b"12345\n" if user else b"0\n")
    written = subprocess.run([*command, "touch", "/cm-exec-test"], env=environment, capture_output=True, check=False)
    assert b"Read-only file system" in written.stderr
    probe = subprocess.run([*command, CM_EXEC, "ready"], env=environment, capture_output=True, check=False)
    assert (probe.returncode, probe.stderr) == (0, b"")


def readable_by_all(scratch: Path) -> str:
    """Return shell lines that show cm-exec and its Python to every user in a mount namespace.

    A folder on the way to them may be root's alone.
    """
    closed = {}
    for folder in {Path(sys.base_prefix), Path(sys.prefix), Path(CM_EXEC).parent, Path(__file__).parents[2]}:
        place = next((each for each in reversed(folder.parents) if not each.stat().st_mode & 0o001), None)
        if place is not None:
            closed[folder] = place
    lines = []
    for number, folder in enumerate(closed):
        scratch.joinpath(f"{number}").mkdir()
        lines.append(f"mount --bind {folder} {scratch}/{number}")
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {place}" for place in set(closed.values())]
    lines += [f"mkdir -p {folder}; mount --bind {scratch}/{number} {folder}" for number, folder in enumerate(closed)]
    return "".join(f"{line}\n" for line in lines)
