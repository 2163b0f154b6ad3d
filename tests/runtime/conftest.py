"""A worker's side of a scripted runtime."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from cm_exec.runtime.endpoints import RuntimeEndpoints, read_endpoints
from cm_exec.runtime.retry import RetryLimits
from cm_exec.runtime.session import RuntimeSession
from tests.support.certificates import Authority
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime

QUICK: Final = RetryLimits(first_delay=0.01, longest_delay=0.04)
"""Tries that follow each other without much delay."""

NewSession = Callable[..., RuntimeSession]


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cm_exec")


@pytest.fixture
def replica(tmp_path: Path, runtime: ScriptedRuntime, authority: Authority) -> Replica:
    """Return the files that the platform writes for a worker."""
    replica = Replica(folder=tmp_path / "replica", runtime=runtime, ca_pem=authority.pem)
    replica.write()
    return replica


@pytest.fixture
def endpoints(replica: Replica) -> RuntimeEndpoints:
    return read_endpoints(replica.modern())


@pytest.fixture
def new_session(replica: Replica, endpoints: RuntimeEndpoints) -> Iterator[NewSession]:
    """Return a function that makes sessions of this replica; they are closed at the end."""
    sessions: list[RuntimeSession] = []

    def new_session(limits: RetryLimits = QUICK, server_name: str | None = None) -> RuntimeSession:
        sessions.append(RuntimeSession(replica.modern(), endpoints, server_name, limits))
        return sessions[-1]

    yield new_session
    for session in sessions:
        session.close()


@pytest.fixture
def session(new_session: NewSession) -> RuntimeSession:
    return new_session()
