"""Every example with a Dockerfile becomes an image that answers jobs, as the user that it names."""

from pathlib import Path

import pytest

from cm_exec import __version__
from tests.support.examples import EXAMPLES, Example
from tests.support.images.examples import BUILD_TOOLS, IMAGE_EXAMPLES
from tests.support.images.images import Images
from tests.support.images.needs import PATIENCE, needs_containers
from tests.support.images.node import Node
from tests.support.images.spec import Spec

LONGEST = 6
"""Instructions of a Dockerfile: it should stay as short as the README promises."""


def instructions(name: str) -> list[str]:
    text = (EXAMPLES / name / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", IMAGE_EXAMPLES)
def test_dockerfile(name: str) -> None:
    """A Dockerfile is short, uses this version, and names a user by number."""
    lines = instructions(name)
    assert 2 <= len(lines) <= LONGEST
    assert f"cm-exec-base:{__version__}" in " ".join(lines).replace("=", " ").split()
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users[-1].isdigit()
    assert users[-1] != "0"


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_containers(*BUILD_TOOLS.get(name, ()))) for name in IMAGE_EXAMPLES]
)
def test_image_of_an_example(name: str, images: Images, node: Node) -> None:
    """The image of an example answers a job and drains."""
    example = Example(folder=EXAMPLES / name)
    container = node.start(Spec(image=images.example(name), entrypoint=None, user=None))
    example.assert_result(node.runtime.call(example.function, example.query, seconds=60))
    assert Path(f"/proc/{container.pid}").stat().st_uid >= 1000
    assert container.stop() == 0
