"""What `cm-exec init` writes becomes an image that answers jobs."""

import json
from pathlib import Path

import pytest

from tests.support.images.images import Images
from tests.support.images.needs import PATIENCE, needs_containers
from tests.support.images.node import Node
from tests.support.images.spec import Image, Spec
from tests.support.images.store import Store
from tests.support.scaffold import init


@pytest.mark.timeout(PATIENCE)
@needs_containers("make")
def test_make_image_makes_a_worker(images: Images, store: Store, node: Node, tmp_path: Path) -> None:
    images.base()
    store.run("buildah", "tag", "localhost/root-python", "localhost/python:3.13-slim-bookworm")
    written = init(tmp_path, "hello")
    assert written.returncode == 0, written.stderr
    store.run("make", "-C", tmp_path / "hello", "image", "ENGINE=buildah")
    container = node.start(Spec(image=Image(name="localhost/hello:0.1.0"), entrypoint=None, user=None))
    assert json.loads(node.runtime.call("greet", '{"name": "Zoë"}'.encode(), seconds=60)) == "Hello, Zoë!"
    assert container.stop() == 0
