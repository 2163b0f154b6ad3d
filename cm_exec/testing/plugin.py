"""Fixtures for pytest: `compute_module` runs the module under test and fails a test in which it broke the protocol.

pytest finds this plugin by itself where cm-exec is installed. Name the worker in pytest's configuration:

    [tool.pytest.ini_options]
    compute_module_command = "python app.py"

or in a fixture `compute_module_command` of your own, with the scope `session`.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cm_exec.testing import ComputeModule


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the configuration file."""
    parser.addini("compute_module_command", "Command that starts the compute module under test", default="")
    parser.addini("compute_module_concurrency", "MAX_CONCURRENT_TASKS of the compute module", default="1")


@pytest.fixture(scope="session")
def compute_module_command(request: pytest.FixtureRequest) -> Sequence[str]:
    """Return the command of the configuration file. Override this fixture to choose it in code."""
    command = str(request.config.getini("compute_module_command"))
    if not command:
        pytest.fail("set compute_module_command in pytest's configuration, or override the fixture of that name")
    try:
        return shlex.split(command)
    except ValueError as error:
        pytest.fail(f"compute_module_command: {error}: {command}")


@pytest.fixture(scope="session")
def start_compute_module(request: pytest.FixtureRequest) -> "Iterator[Callable[..., ComputeModule]]":
    """Return a function that starts a command, with the arguments of `cm_exec.testing.run_compute_module`.

    A module with the same arguments is started once a session, and again if it has ended.
    """
    from cm_exec.errors import UsageError  # noqa: PLC0415 - pytest loads the plugin in projects without such tests
    from cm_exec.testing import run_compute_module  # noqa: PLC0415

    text = str(request.config.getini("compute_module_concurrency"))
    concurrency = int(text) if text.isascii() and text.isdecimal() else 0
    if concurrency < 1:
        pytest.fail(f"compute_module_concurrency: expected an integer of 1 or more, found {text!r}", pytrace=False)
    running: dict[str, ComputeModule] = {}
    with ExitStack() as stack:

        def start(command: Sequence[str], **options: Any) -> "ComputeModule":
            options = {"concurrency": concurrency, **options}
            key = repr((list(command), sorted(options.items())))
            if key not in running or running[key].ended is not None:
                try:
                    running[key] = stack.enter_context(run_compute_module(command, **options))
                except UsageError as error:
                    raise pytest.fail.Exception(str(error), pytrace=False) from None
            return running[key]

        yield start


@pytest.fixture
def compute_module(
    start_compute_module: "Callable[..., ComputeModule]", compute_module_command: Sequence[str]
) -> "Iterator[ComputeModule]":
    """Return the running compute module. The test fails if the worker breaks the protocol meanwhile."""
    module = start_compute_module(compute_module_command)
    before = module.runtime.violation_count
    yield module
    module.assert_no_violation(since=before)
