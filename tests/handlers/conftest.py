"""A handler of a test's own command; and tests that need a process whose descriptor 3 nobody uses."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from cm_exec.handlers.handler import Surroundings
from tests.support.handling import Ran, function_of, handler_of, run, surroundings

_FREE: Final = "CM_TEST_DESCRIPTOR_3_IS_FREE"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "descriptor_3: runs in a process whose descriptor 3 no thread uses")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test with this mark by a pytest of its own: xdist's workers talk over descriptor 3."""
    if _FREE in os.environ or pyfuncitem.get_closest_marker("descriptor_3") is None:
        return None
    pytest_alone = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        ["sh", "-c", 'exec 3</dev/null; exec "$@"', "sh", *pytest_alone, pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, _FREE: "1"},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"), pytrace=False)
    return True


RunCommand = Callable[..., Ran]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Surroundings]:
    spool = tmp_path / "spool"
    spool.mkdir()
    with surroundings(spool) as shared:
        yield shared
        assert not shared.families, "a family of processes is still known"


@pytest.fixture
def run_command(tmp_path: Path, shared: Surroundings) -> RunCommand:
    """Runs one job of a function with this command and these options."""

    def run_command(command: str | tuple[str, ...], query: bytes = b"null", **options: object) -> Ran:
        return run(handler_of(function_of(tmp_path, command, **options), shared), query)

    return run_command
