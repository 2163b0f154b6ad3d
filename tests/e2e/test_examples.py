"""Every folder of examples/ does what its result.json says: alone by `cm-exec invoke`, and in a real worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from cm_exec.local_runtime import Call, LocalRuntime
from tests.support.examples import FOLDERS, TOOLS, environment, prepare
from tests.support.tools import needs

CM_EXEC: Final = Path(sys.executable).with_name("cm-exec")
DEADLINE: Final = 90.0

each_example = pytest.mark.parametrize("name", [pytest.param(name, marks=needs(*TOOLS[name])) for name in FOLDERS])


def invoke(folder: Path, name: str, function: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [CM_EXEC, "invoke", function, *arguments],
        cwd=folder,
        env=environment(name, os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )


@each_example
def test_invoke(name: str, tmp_path: Path) -> None:
    """The command invoke prints the result and nothing else."""
    example = prepare(name, tmp_path / name)
    done = invoke(example.folder, name, example.function, "--query-file", "query.json")
    assert done.returncode == 0, done.stderr
    example.assert_result(done.stdout)


@each_example
def test_unreadable_query(name: str, tmp_path: Path) -> None:
    """A query that the handler cannot read is an error: a command fails with its stderr, and a service continues."""
    example = prepare(name, tmp_path / name)
    done = invoke(example.folder, name, example.function, '"this is not what it wants"')
    assert done.returncode != 0
    answer = json.loads(done.stdout)
    if name.startswith(("service-", "http-")):
        assert answer["reason"] in {"handler", "http_status"}
        assert "exitCode" not in answer
        return
    assert answer["reason"] == "exit"
    assert answer["exitCode"] == done.returncode != 0
    assert answer["stderr"].strip()
    assert answer["stderr"] in done.stderr.decode()


@contextmanager
def worker(folder: Path, variables: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the installed worker until the end of the test."""
    with subprocess.Popen([CM_EXEC, "run"], cwd=folder, env=variables, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(call: Call, process: "subprocess.Popen[bytes]") -> bytes:
    """Return the result. Fail at once if the worker has ended."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return call.wait(0.2).body
        except TimeoutError:
            assert process.poll() is None, "the worker has ended"
            assert time.monotonic() < deadline


@each_example
def test_a_worker_answers_two_queries_and_drains(name: str, tmp_path: Path) -> None:
    example = prepare(name, tmp_path / name)
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=2, poll_wait=0.2) as runtime:
        variables = environment(name, {**os.environ, **runtime.environment()})
        with worker(example.folder, variables) as process:
            calls = [runtime.submit(example.function, example.query) for _ in range(2)]
            for call in calls:
                example.assert_result(answer(call, process))
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0


@each_example
def test_its_own_tests_pass(name: str, tmp_path: Path) -> None:
    example = prepare(name, tmp_path / name)
    done = subprocess.run(
        [CM_EXEC, "test"],
        cwd=example.folder,
        env=environment(name, os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
