"""A worker's side of a scripted runtime."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cm_exec.runtime.link import Access, Link
from cm_exec.runtime.location import Location, read_location

from tests.support.certificates import Authority
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime


@pytest.fixture
def replica(tmp_path: Path, runtime: ScriptedRuntime, authority: Authority) -> Replica:
    """The files that the platform puts there for a worker."""
    replica = Replica(folder=tmp_path / "replica", runtime=runtime, ca_pem=authority.pem)
    replica.write()
    return replica


@pytest.fixture
def location(replica: Replica) -> Location:
    return read_location(replica.modern())


@pytest.fixture
def access(replica: Replica, location: Location) -> Access:
    return Access(replica.modern(), location)


@pytest.fixture
def new_link(access: Access) -> Iterator[Callable[..., Link]]:
    """Makes links of this replica and closes them at the end."""
    made: list[Link] = []

    def new_link(**options: Any) -> Link:
        made.append(Link(access, None, **options))
        return made[-1]

    yield new_link
    for link in made:
        link.close()


@pytest.fixture
def link(new_link: Callable[..., Link]) -> Link:
    return new_link()
