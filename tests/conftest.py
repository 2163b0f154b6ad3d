"""Fixtures of the end-to-end tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.asyncio_tests import pytest_pyfunc_call  # noqa: F401 - a hook: tests may be coroutines
from tests.support.bench import Bench
from tests.support.bundle import Bundle, shared_bundle
from tests.support.certificates import Authority
from tests.support.images.store import STORE_FOLDER, Store, make_folder
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime


def pytest_configure(config: pytest.Config) -> None:
    """A folder for images and containers that all processes of xdist inherit; it is filled when a test wants one."""
    if not hasattr(config, "workerinput"):
        os.environ[STORE_FOLDER] = str(make_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        Store(Path(os.environ.pop(STORE_FOLDER))).close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA that workers are given."""
    return Authority()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The self-contained cm-exec, which is built for the first test that wants it."""
    return shared_bundle(tmp_path_factory)


@pytest.fixture
def runtime(authority: Authority) -> Iterator[ScriptedRuntime]:
    """A runtime with a good certificate, on a port of its own."""
    with ScriptedRuntime(authority.good()) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, runtime: ScriptedRuntime, authority: Authority) -> Iterator[Bench]:
    """A runtime and its replica; at the end every worker must stop with 0 and leave nothing behind."""
    folder = tmp_path / "app"
    folder.mkdir()
    replica = Replica(folder=tmp_path / "replica", runtime=runtime, ca_pem=authority.pem)
    replica.write()
    bench = Bench(folder=folder, runtime=runtime, replica=replica)
    try:
        yield bench
    finally:
        try:
            bench.finish()
        finally:
            _show_logs(bench)


def _show_logs(bench: Bench) -> None:
    for worker in bench.workers:
        print(f"--- {worker.stdout_file.name} (exit {worker.process.returncode})")
        print(worker.stdout[-4000:], worker.stderr[-4000:], sep="\n")


@pytest.fixture(scope="session")
def unshare() -> tuple[str, ...]:
    """The command that makes namespaces, as root or as a user who may; skip where neither can, fail in CI."""
    for command in (("unshare",), ("unshare", "--map-root-user")):
        if shutil.which("unshare") and _succeeds([*command, "--mount", "--pid", "--fork", "--mount-proc", "true"]):
            return command
    reason = "needs unshare(1) and the right to make mount and PID namespaces"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
