"""A handler of a test's own command; and tests that need a process whose descriptor 3 nobody uses."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Final

import pytest
from junitparser import JUnitXml

from cm_exec.handlers import HandlerContext
from cm_exec.processes.launcher import reserve_descriptors
from tests.support.handlers import JobRun, context_of, function_of, handler_of, run

_FREE: Final = "CM_TEST_DESCRIPTOR_3_IS_FREE"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "descriptor_3: runs in a process whose descriptor 3 no thread uses")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test with this mark by a pytest of its own: xdist's workers talk over descriptor 3."""
    if pyfuncitem.get_closest_marker("descriptor_3") is None:
        return None
    if _FREE in os.environ:
        reserve_descriptors()
        return None
    problem = _problems_with_free_descriptor(pyfuncitem.path, pyfuncitem.config.rootpath)[pyfuncitem.name]
    if problem:
        pytest.fail(problem, pytrace=False)
    return True


@functools.cache
def _problems_with_free_descriptor(module: Path, root: Path) -> dict[str, str]:
    """Run all marked tests of a module; return what is wrong with each, nothing for one that has passed."""
    pytest_alone = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        done = subprocess.run(
            ["sh", "-c", 'exec 3</dev/null; exec "$@"', "sh", *pytest_alone, f"--junit-xml={report.name}", str(module)],
            cwd=root,
            env={**os.environ, _FREE: "1"},
            capture_output=True,
            check=False,
        )
        print(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        (suite,) = JUnitXml.fromfile(report.name)
    return {case.name: "\n".join(f"{each.message}\n{each.text}" for each in case.result) for case in suite}


RunCommand = Callable[..., Coroutine[None, None, JobRun]]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[HandlerContext]:
    spool = tmp_path / "spool"
    spool.mkdir()
    context = context_of(spool)
    yield context
    assert not context.trees, "a process tree is still registered"
    assert not context.running, "a job is still registered"
    assert list(spool.iterdir()) == []


@pytest.fixture
def run_command(tmp_path: Path, context: HandlerContext) -> RunCommand:
    """Run one job of a function with this command and these options."""

    async def run_command(command: str | tuple[str, ...], query: bytes = b"null", **options: object) -> JobRun:
        return await run(handler_of(function_of(tmp_path, command, **options), context), query)

    return run_command
