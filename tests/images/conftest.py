"""Fixtures of the tests that run containers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.images.images import Images
from tests.support.images.node import Node, open_node
from tests.support.images.store import STORE_FOLDER, Store


@pytest.fixture(scope="session")
def store() -> Store:
    """Open the store of all test processes. The first process removes it at the end."""
    store = Store(Path(os.environ[STORE_FOLDER]))
    store.open()
    return store


@pytest.fixture(scope="session")
def images(store: Store, request: pytest.FixtureRequest) -> Images:
    def bundle() -> Path:
        tree: Path = request.getfixturevalue("bundle").tree
        return tree

    return Images(store=store, bundle=bundle)


@pytest.fixture
def node(store: Store, tmp_path: Path, authority: Authority) -> Iterator[Node]:
    """Create a machine for the containers of one test."""
    with open_node(store, tmp_path, authority) as node:
        yield node
