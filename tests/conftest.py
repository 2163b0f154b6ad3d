"""Fixtures for all tests, and the marker of each test."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support.asyncio_tests import pytest_pyfunc_call  # noqa: F401 - a hook: tests may be coroutines
from tests.support.bundle import Bundle, shared_bundle
from tests.support.certificates import Authority
from tests.support.images.store import STORE_FOLDER, Store, make_folder
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime
from tests.support.worker_harness import WorkerHarness

settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

TIERS: Final = {
    "unit": "unit",
    **dict.fromkeys(("dev", "handlers", "processes", "release", "runtime", "worker"), "process"),
    **dict.fromkeys(("docs", "e2e"), "e2e"),
    "browser": "browser",
    **dict.fromkeys(("bundle", "images"), "images"),
}
"""The marker of the tests in each folder."""


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the tier of its folder, and start the long ones first: the run must not end with one."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder not in TIERS:
            raise pytest.UsageError(f"tests/{folder} has no tier: add it to TIERS in tests/conftest.py")
        item.add_marker(TIERS[folder])


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder for images and containers that all processes of xdist share; it is filled when needed.

    Programs that the tests start must not inherit the signals that nohup, or a script's background, ignores.
    """
    with suppress(ValueError):  # not on the first thread
        for number in (signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        os.environ[STORE_FOLDER] = str(make_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        Store(Path(os.environ.pop(STORE_FOLDER))).close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Create the CA that workers trust."""
    return Authority()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Build the self-contained cm-exec, once for all tests."""
    return shared_bundle(tmp_path_factory)


@pytest.fixture
def runtime(authority: Authority) -> Iterator[ScriptedRuntime]:
    """Start a runtime with a valid certificate on its own port."""
    with ScriptedRuntime(authority.good()) as running:
        yield running


@pytest.fixture
def harness(tmp_path: Path, runtime: ScriptedRuntime, authority: Authority) -> Iterator[WorkerHarness]:
    """Start a runtime and its replica. At the end every worker must stop with 0 and leave nothing behind."""
    folder = tmp_path / "app"
    folder.mkdir()
    replica = Replica(folder=tmp_path / "replica", runtime=runtime, ca_pem=authority.pem)
    replica.write()
    harness = WorkerHarness(folder=folder, runtime=runtime, replica=replica)
    try:
        yield harness
    finally:
        try:
            harness.finish()
        finally:
            _show_logs(harness)


def _show_logs(harness: WorkerHarness) -> None:
    for worker in harness.workers:
        print(f"--- {worker.stdout_file.name} (exit {worker.process.returncode})")
        print(worker.stdout[-4000:], worker.stderr[-4000:], sep="\n")


@pytest.fixture(scope="session")
def unshare() -> tuple[str, ...]:
    """Return the command that creates namespaces, as root or as a permitted user. Skip without one; fail in CI."""
    for command in (("unshare",), ("unshare", "--map-root-user")):
        if shutil.which("unshare") and _succeeds([*command, "--mount", "--pid", "--fork", "--mount-proc", "true"]):
            return command
    reason = "needs unshare(1) and the permission to create mount and PID namespaces"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
