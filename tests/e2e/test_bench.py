"""`cm-exec bench`: the real worker on the local runtime, with the user's cm.toml."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cm_exec.cli.program import program
from cm_exec.errors import UsageError
from tests.support.toml import function
from tests.support.worker import CM_EXEC
from tests.support.worker_harness import WorkerHarness

SHORT = ("--seconds", "0.2")
LOOP = 'while read -r line; do echo "$line"; done'


def measured(harness: WorkerHarness, *arguments: str) -> Any:
    """Return the JSON of a run in which nothing fails."""
    done = harness.cm_exec("bench", "--json", *SHORT, *arguments, seconds=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_all_steps(harness: WorkerHarness) -> None:
    """Each function is measured in each mode with each number of slots; cm.toml and its folder stay as they were."""
    config = function("echo", "cat") + function("loop", LOOP, mode="persistent")
    harness.write(config)
    document = measured(harness, "--concurrency", "1,2", "--rate", "1000")
    rows = document["measurements"]
    modes = [("echo", "spawn"), ("echo", "prespawn"), ("loop", "persistent")]
    assert [(r["function"], r["mode"], r["slots"]) for r in rows] == [(*m, n) for m in modes for n in (1, 2)]
    for row in rows:
        assert row["jobs"] >= row["slots"]
        assert row["failed"] == 0
        assert 0 < row["p50"] <= row["p90"] <= row["p99"]
        assert row["jobs_per_second"] > 0
        assert (row["unloaded_p50"] is not None) == (row["slots"] == 1)
        assert 1 << 20 < row["memory"]["worker"] < 1 << 30
    assert all(row["memory"]["handlers"] for row in rows if row["mode"] == "persistent")
    assert [(a["function"], a["replicas"]["replicas"] > 0) for a in document["advice"]] == [
        ("echo", True),
        ("loop", True),
    ]
    assert document["failures"] == []
    assert harness.folder.joinpath("cm.toml").read_text() == config
    assert [path.name for path in harness.folder.iterdir()] == ["cm.toml"]


def test_all_slots_busy(harness: WorkerHarness) -> None:
    """As many jobs run at once as there are slots: here a job ends only when that many run."""
    harness.folder.joinpath("running").mkdir()
    together = (
        'mkdir "running/$CM_JOB_ID"; for n in $(seq 1500); do set -- running/*; '
        "if [ $# -gt 3 ]; then exit 4; fi; if [ $# -eq 3 ]; then touch reached; fi; "
        "if [ -e reached ]; then break; fi; sleep 0.02; done; "
        'rmdir "running/$CM_JOB_ID"; test -e reached'
    )
    harness.write(function("f", together))
    (row,) = measured(harness, "--mode", "spawn", "--concurrency", "3")["measurements"]
    assert row["failed"] == 0


def test_table(harness: WorkerHarness) -> None:
    harness.write(function("echo", "cat"))
    done = harness.cm_exec("bench", *SHORT, "--mode", "spawn", "--concurrency", "1", "--rate", "0.5")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert text.startswith("query: {} (default: there is no --query, no --query-file and no query.json)\n\necho\n")
    assert re.search(r"^  spawn +1 +[\d.]+ m?s .* MiB$", text, re.MULTILINE)
    assert "for 0.50 jobs/s: 1 replica of 1 slot" in text
    assert "Little's law" in text
    assert done.stderr == b""


def test_failing_function(harness: WorkerHarness) -> None:
    """It is reported with its error, and the others are measured."""
    harness.write(function("bad", "echo no such customer >&2; exit 3") + function("echo", "cat"))
    done = harness.cm_exec("bench", *SHORT, "--concurrency", "1")
    assert done.returncode == 1
    text = done.stdout.decode()
    assert text.count("not measured") == 1
    assert (
        "  spawn, 1 slot: not measured: the command of 'bad' failed with exit status 3; "
        "its stderr ends: no such customer\n" in text
    )
    assert re.search(r"^  prespawn +1 ", text, re.MULTILINE)


def test_failing_jobs(harness: WorkerHarness) -> None:
    """Jobs that fail now and then do not count. Every other job fails here, but not the first."""
    harness.write(function("f", "n=$(cat n); echo $((n + 1)) >n; exit $((n % 2))"))
    harness.folder.joinpath("n").write_text("0")
    done = harness.cm_exec("bench", "--json", *SHORT, "--mode", "spawn", "--concurrency", "1", "f")
    assert done.returncode == 0, done.stdout
    (row,) = json.loads(done.stdout)["measurements"]
    assert 0 < row["failed"] <= row["jobs"] + 1
    assert row["failure"] == "the command of 'f' failed with exit status 1"
    assert row["unloaded_p50"] is not None


def test_query(harness: WorkerHarness) -> None:
    """The user's query reaches the handler: an option goes before query.json."""
    harness.folder.joinpath("query.json").write_text('{"from": "query.json"}')
    harness.folder.joinpath("own.json").write_text('{"from": "own.json"}')
    harness.write(function("f", "grep -q query.json") + function("g", "grep -q own.json"))
    one_step = ("--mode", "spawn", "--concurrency", "1")
    assert measured(harness, *one_step, "f")["query"] == {"source": "query.json", "bytes": 22}
    assert measured(harness, *one_step, "--query-file", "own.json", "g")["query"]["source"] == "own.json"
    assert measured(harness, *one_step, "--query", '"query.json"', "f")["query"] == {"source": "--query", "bytes": 12}


def test_production_settings(harness: WorkerHarness) -> None:
    """Neither the replica's runtime nor its settings are used."""
    harness.write(function("f", "cat") + '[launcher]\ntls_server_name = "elsewhere"\nconcurrency = 5\n')
    environment = harness.replica.modern() | {"CM_EXEC_TLS_SERVER_NAME": "elsewhere", "CM_EXEC_CONCURRENCY": "7"}
    done = harness.cm_exec("bench", *SHORT, "--mode", "spawn", "--concurrency", "1", environment=environment)
    assert done.returncode == 0, done.stdout
    assert harness.runtime.request_log.connections == 0


def test_worker_ends(harness: WorkerHarness) -> None:
    """Its log is shown."""
    harness.write(function("f", "cat"))
    done = harness.cm_exec("bench", *SHORT, "--mode", "spawn", environment={"CM_EXEC_LOG_LEVEL": "nonsense"})
    assert done.returncode == 1
    assert b"not measured: the worker ended with exit status 2; its log ends: " in done.stdout
    assert b"nonsense" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(harness: WorkerHarness, number: signal.Signals) -> None:
    """A signal prints the results so far."""
    harness.write(function("echo", "cat") + function("slow", "touch started; exec sleep 300"))
    done = harness.interrupt("bench", *SHORT, "--mode", "spawn", "--concurrency", "1", number=number)
    assert done.returncode == 128 + number
    text = done.stdout.decode()
    assert re.search(r"^  spawn +1 ", text, re.MULTILINE)
    assert "slow" not in text
    assert text.endswith("Interrupted: these are the results until then.\n")


def test_progress_bar(harness: WorkerHarness) -> None:
    harness.write(function("echo", "cat"))
    master, terminal = pty.openpty()
    with subprocess.Popen(
        [CM_EXEC, "bench", *SHORT, "--mode", "prespawn", "--concurrency", "2", "--json"],
        cwd=harness.folder,
        env=harness.environment({}) | {"TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        drawn = _read_all(master)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0, drawn
    assert json.loads(stdout)["measurements"]
    assert "echo, prespawn, 2 slots" in drawn
    assert "█" in drawn


def _read_all(master: int) -> str:
    drawn = b""
    try:
        while chunk := os.read(master, 65536):
            drawn += chunk
    except OSError:  # the terminal's other side is closed
        pass
    finally:
        os.close(master)
    return drawn.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--concurrency", "0"), b"expected integers from 1 to 10000, separated by commas"),
        (("--concurrency", "1,x"), b"such as 1,4"),
        (("eco",), b"no function 'eco'; did you mean 'echo'?"),
        (("--query", "{"), b"the query from --query is not valid JSON"),
        (
            ("--mode", "persistent"),
            b"echo: not measured in mode persistent: it needs a handler",
        ),
        (("--rate", "0"), b"--rate"),
        (("--seconds", "0"), b"--seconds"),
    ],
)
def test_usage_errors(harness: WorkerHarness, arguments: tuple[str, ...], message: bytes) -> None:
    harness.write(function("echo", "cat"))
    done = harness.cm_exec("bench", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert b"Traceback" not in done.stderr
    assert not done.stdout


def test_invalid_config(harness: WorkerHarness) -> None:
    harness.write("[functions]\nf = 3\n")
    done = harness.cm_exec("bench")
    assert done.returncode == 3
    assert b"functions.f" in done.stderr


def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    (tmp_path / "cm.toml").write_text(function("f", "cat"))
    done = CliRunner().invoke(program, ["bench", "--config", str(tmp_path / "cm.toml")])
    assert isinstance(done.exception, UsageError)
    assert "bench needs uvicorn; install them with: pip install 'cm-exec[dev]'" in str(done.exception)


SERVICE = """
import json, sys
for line in sys.stdin:
    job = json.loads(line)
    print(json.dumps({"jobId": job["jobId"], "result": job["queryType"]}), flush=True)
"""


def test_services(harness: WorkerHarness) -> None:
    """A function is measured with its service, which keeps its envelope and its folder."""
    harness.folder.joinpath("app").mkdir()
    harness.folder.joinpath("app", "service.py").write_text(SERVICE)
    harness.write(
        '[services.s]\ncommand = ["python3", "service.py"]\ncwd = "app"\n'
        '[functions.one]\nservice = "s"\n[functions.two]\nservice = "s"\n'
    )
    rows = measured(harness, "--concurrency", "2")["measurements"]
    assert [(row["function"], row["mode"], row["failed"]) for row in rows] == [
        ("one", "persistent", 0),
        ("two", "persistent", 0),
    ]
