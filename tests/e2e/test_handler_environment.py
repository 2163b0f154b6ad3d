import signal
from pathlib import Path

from tests.support.processes import oom_score_adj
from tests.support.toml import function, table
from tests.support.worker_harness import WorkerHarness

ENVIRON = "cat /proc/self/environ"


def environment_of(output: bytes) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in output.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs}


def signal_mask(name: str, status: str) -> int:
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1], 16)


def test_job_variables(harness: WorkerHarness) -> None:
    """A handler gets its job's variables."""
    harness.start(function("f.1-x", ENVIRON))
    job = harness.runtime.submit("f.1-x", members={"userId": "user-1"})
    seen = environment_of(bytes(harness.runtime.result(job).body))
    assert (seen["CM_JOB_ID"], seen["CM_QUERY_TYPE"], seen["CM_USER_ID"]) == (job, "f.1-x", "user-1")


def test_inherited_environment(harness: WorkerHarness) -> None:
    """A handler inherits the launcher's environment, with its own variables added."""
    config = function("f", ENVIRON, env={"ADDED": "a b=c", "LANG": "de_DE.UTF-8"})
    harness.start(config, environment={**harness.environment(), "OWN": "of the image"})
    seen = environment_of(harness.runtime.call("f"))
    assert (seen["OWN"], seen["ADDED"], seen["LANG"]) == ("of the image", "a b=c", "de_DE.UTF-8")


def test_inherit_env_lets_only_these_through(harness: WorkerHarness) -> None:
    config = function("f", ENVIRON, inherit_env=["PATH", "ABSENT"], env={"ADDED": "1"})
    harness.start(config, environment={**harness.environment(), "OWN": "of the image"})
    seen = set(environment_of(harness.runtime.call("f"))) - {"PWD", "SHLVL", "_", "OLDPWD"}
    assert seen == {"PATH", "ADDED", "CM_JOB_ID", "CM_QUERY_TYPE"}


def test_inherit_env_cannot_bring_back_the_token(harness: WorkerHarness) -> None:
    harness.write(function("f", ENVIRON, inherit_env=["PATH", "MODULE_AUTH_TOKEN"]))
    done = harness.cm_exec("run", environment=harness.replica.modern())
    assert done.returncode == 3
    assert b"functions.f.inherit_env" in done.stderr


def test_defaults(harness: WorkerHarness) -> None:
    """Defaults apply to the functions that do not override them."""
    config = table("defaults", env={"COMMON": "1"}) + function("f", ENVIRON)
    harness.start(config + function("g", ["sleep", "300"], timeout=1))
    assert environment_of(harness.runtime.call("f"))["COMMON"] == "1"
    assert b'"timeout"' in harness.runtime.call("g")


def test_working_folder(harness: WorkerHarness) -> None:
    """A handler runs in the folder of cm.toml, or in its cwd."""
    elsewhere = harness.folder / "elsewhere"
    elsewhere.joinpath("handlers").mkdir(parents=True)
    elsewhere.joinpath("my.toml").write_text(
        function("here", "pwd -P") + function("below", "pwd -P", cwd="handlers") + function("root", "pwd -P", cwd="/")
    )
    harness.start("", "--config", "elsewhere/my.toml")
    folders = [harness.runtime.call(name).decode().strip() for name in ("here", "below", "root")]
    assert folders == [str(elsewhere.resolve()), str(elsewhere.resolve() / "handlers"), "/"]


def test_cm_exec_config_names_the_file(harness: WorkerHarness) -> None:
    elsewhere = harness.folder / "my.toml"
    elsewhere.write_text(function("f", "printf elsewhere"))
    harness.start("", environment={**harness.environment(), "CM_EXEC_CONFIG": str(elsewhere)})
    assert harness.runtime.call("f") == b"elsewhere"


def test_relative_command(harness: WorkerHarness) -> None:
    """A relative command is found from its working folder."""
    script = harness.folder / "handlers" / "run.sh"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nprintf found\n")
    script.chmod(0o755)
    harness.start(function("f", ["./run.sh"], cwd="handlers"))
    assert harness.runtime.call("f") == b"found"


def test_shell_and_argv(harness: WorkerHarness) -> None:
    """The shell runs a string, and an array is run directly."""
    harness.start(
        '[functions]\na = "printf %s $((1+1)) | tr 2 3"\n' + function("b", ["printf", "%s", "$((1+1)) | 'x'"])
    )
    assert [harness.runtime.call(name) for name in "ab"] == [b"3", b"$((1+1)) | 'x'"]


def test_descriptors(harness: WorkerHarness) -> None:
    """A handler has three descriptors and no more."""
    harness.start(function("f", ["ls", "/proc/self/fd"]), "--concurrency", "2")
    assert harness.runtime.call("f").split() == [b"0", b"1", b"2", b"3"]


def test_signals(harness: WorkerHarness) -> None:
    """No signal is blocked in a handler, and it inherits none of the launcher's own handling."""
    harness.start(function("f", ["cat", "/proc/self/status"]))
    own = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM))
    inherited = signal_mask("SigIgn", Path("/proc/self/status").read_text()) & ~own
    status = harness.runtime.call("f").decode()
    assert (signal_mask("SigBlk", status), signal_mask("SigIgn", status)) == (0, inherited)


def test_sigpipe(harness: WorkerHarness) -> None:
    """SIGPIPE ends a handler's pipeline as in a shell."""
    harness.start(function("f", "yes | head -n 1"))
    assert harness.runtime.call("f") == b"y\n"


def test_oom_score(harness: WorkerHarness) -> None:
    """The out-of-memory killer prefers handlers to the launcher."""
    worker = harness.start(function("f", "cat /proc/self/oom_score_adj"))
    assert int(harness.runtime.call("f")) > oom_score_adj(worker.pid)


def test_process_group(harness: WorkerHarness) -> None:
    """A handler is not in the launcher's process group."""
    worker = harness.start(function("f", ["cat", "/proc/self/stat"]))
    process_group = int(harness.runtime.call("f").rpartition(b")")[2].split()[2])
    assert process_group != worker.pid


def test_signal_to_the_process_group(harness: WorkerHarness) -> None:
    """The worker survives a handler that signals its whole group."""
    worker = harness.start(function("f", f"kill -{signal.SIGTERM.value} 0") + function("g", ["cat"]))
    assert b'"SIGTERM"' in harness.runtime.call("f")
    assert harness.runtime.call("g", b"1") == b"1"
    assert worker.is_running()
