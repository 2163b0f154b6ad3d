"""A handler of a test's own command."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cm_exec.handlers.handler import Surroundings
from tests.support.handling import Ran, function_of, handler_of, run, surroundings

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
