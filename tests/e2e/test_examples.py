"""Every folder of examples/ does what its result.json says: alone by `cm-exec invoke`, and in a real worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import Call
from tests.support.examples import FOLDERS, TOOLS, environment, prepare
from tests.support.tools import needs

CM_EXEC: Final = Path(sys.executable).with_name("cm-exec")
DEADLINE: Final = 90.0

UNREADABLE: Final = b'"this is not what it wants"'


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [pytest.param(name, marks=needs(*TOOLS[name])) for name in names])


each_example = each(FOLDERS)
each_kind = each(["perl", "imagemagick", "persistent-node", "service-books-python", "http-python"])


def cm_exec(name: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [CM_EXEC, *arguments],
        cwd=folder,
        env=environment(name, os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )


@each_example
def test_its_own_tests_pass(name: str, tmp_path: Path) -> None:
    example = prepare(name, tmp_path / name)
    done = cm_exec(name, example.folder, "test")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@each_kind
def test_invoke(name: str, tmp_path: Path) -> None:
    """`invoke` prints the result and nothing else; an error result with the exit status and stderr of the handler."""
    example = prepare(name, tmp_path / name)
    done = cm_exec(name, example.folder, "invoke", example.function, "--query-file", "query.json")
    assert done.returncode == 0, done.stderr
    example.assert_result(done.stdout)
    done = cm_exec(name, example.folder, "invoke", example.function, UNREADABLE.decode())
    failure = json.loads(done.stdout)
    assert done.returncode == failure.get("exitCode", 1)
    assert failure.get("stderr", "") in done.stderr.decode()


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
def test_a_worker_answers_and_drains(name: str, tmp_path: Path) -> None:
    """A query that the handler cannot read is an error: a command fails with its stderr, and a service continues."""
    example = prepare(name, tmp_path / name)
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=2, poll_wait=0.2) as runtime:
        variables = environment(name, {**os.environ, **runtime.environment()})
        with worker(example.folder, variables) as process:
            bodies = (example.query, UNREADABLE, example.query)
            first, unreadable, last = [runtime.submit(example.function, body) for body in bodies]
            for call in (first, last):
                example.assert_result(answer(call, process))
            failure = json.loads(answer(unreadable, process))
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
    if name.startswith(("service-", "http-")):
        assert failure["reason"] in {"handler", "http_status"}
        assert "exitCode" not in failure
    else:
        assert failure["reason"] == "exit"
        assert failure["exitCode"] != 0
        assert failure["stderr"].strip()
