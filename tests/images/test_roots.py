"""Whatever the image is, cm-exec in it answers jobs: one container a root, in an environment full of traps."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.answers import error_of
from tests.support.certificates import Authority
from tests.support.images import hostile
from tests.support.images.container import Container
from tests.support.images.images import Images
from tests.support.images.needs import PATIENCE, needs_containers
from tests.support.images.node import SHARED, Node, open_node
from tests.support.images.roots import ROOTS
from tests.support.images.spec import NO_TMP, NOEXEC_TMP, PROGRAM, Image, Spec
from tests.support.images.store import Store
from tests.support.processes import wait_until
from tests.support.request_log import Endpoint
from tests.support.toml import function, table

pytestmark = [needs_containers(), pytest.mark.timeout(PATIENCE)]

CONFIG = (
    function("echo", ["cat"])
    + function("environment", ["cat", "/proc/self/environ"])
    + function("orphans", "for _ in 1 2 3; do sleep 0.05 >/dev/null 2>&1 & done; (sleep 0 &); printf done")
    + function("large", ["head", "-c", "3000000", "/dev/zero"])
    + function("blocked", f"while [ ! -e {SHARED}/go ]; do sleep 0.05; done; printf done")
    + table("launcher", concurrency=4)
)

CA_PATHS = {"DEFAULT_CA_PATH", "CONNECTIONS_TO_OTHER_PODS_CA_PATH"}
"""A handler that calls Foundry needs them."""

STATIC = {"busybox", "musl"}
"""Roots without a program that needs libc.so.6."""


def image_of(images: Images, root: str) -> Image:
    return images.base() if root == "base" else images.root(root)


def options_of(root: str) -> tuple[str, ...]:
    """Both kinds of a poor place are covered: no folder for temporary files, and one that nothing can run from."""
    return NO_TMP if root == "busybox" else NOEXEC_TMP


each_root = pytest.mark.parametrize("root", [*ROOTS, "base"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker that runs in a hostile environment."""

    root: str
    node: Node
    container: Container

    def call(self, name: str, query: bytes = b"null") -> bytes:
        return self.node.runtime.call(name, query)


@pytest.fixture(scope="module", params=[*ROOTS, "base"])
def place(
    request: pytest.FixtureRequest,
    store: Store,
    images: Images,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    root = str(request.param)
    folder = tmp_path_factory.mktemp(root)
    hostile.write(folder / "hostile", with_c_library=root in STATIC)
    spec = Spec(
        image=image_of(images, root),
        config=CONFIG,
        extra=hostile.VARIABLES,
        mounts=[f"{folder}/hostile:{hostile.PLACE}:ro"],
        options=options_of(root),
    )
    with open_node(store, folder, authority) as node:
        yield Place(root=root, node=node, container=node.start(spec))


def test_a_job_is_answered_over_tls(place: Place) -> None:
    assert place.call("echo", b'{"x": 1}') == b'{"x": 1}'
    assert len(place.node.runtime.request_log.all(Endpoint.SCHEMA)) == 1
    assert not place.node.runtime.request_log.handshake_failures


def test_invoke_prints_the_result(place: Place) -> None:
    assert place.node.execute(place.container, PROGRAM, "invoke", "echo", '{"x":1}') == b'{"x":1}'


def test_the_image_keeps_the_platform_s_rules(place: Place) -> None:
    told = place.node.execute(place.container, PROGRAM, "check", "--image-rules").decode()
    assert "user ok uid 12345, gid 12345" in [" ".join(line.split()) for line in told.splitlines()]
    assert "broken" not in told


def test_environment_of_a_handler(place: Place) -> None:
    """A handler has the environment of the container and nothing else."""
    started = variables_of(Path(f"/proc/{place.container.pid}/environ").read_bytes())
    seen = variables_of(place.call("environment"))
    assert seen.pop("CM_JOB_ID")
    assert seen.pop("CM_QUERY_TYPE") == "environment"
    assert seen.items() >= hostile.VARIABLES.items()
    hidden = place.node.replica.modern().keys() - {"COMPUTE_SESSION_ID", *CA_PATHS}
    assert seen == {name: value for name, value in started.items() if name not in hidden}


def variables_of(environ: bytes) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in environ.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs}


def test_large_result(place: Place) -> None:
    """A result that is large enough for a file is complete."""
    assert place.call("large") == bytes(3_000_000)
    start_line = place.container.stdout.splitlines()[0]
    assert ("memory" in start_line) == (options_of(place.root) == NO_TMP)


def test_pid_1_leaves_no_zombie(place: Place) -> None:
    assert [place.call("orphans") for _ in range(10)] == [b"done"] * 10
    wait_until(lambda: not place.container.zombies(), what="the end of all zombies")


@each_root
def test_sigterm_to_pid_1(root: str, images: Images, node: Node) -> None:
    """After SIGTERM PID 1 answers its jobs and exits with 0."""
    node.runtime.poll_seconds = 0.2
    container = node.start(Spec(image=image_of(images, root), config=CONFIG, options=options_of(root)))
    jobs = [node.runtime.submit("blocked"), node.runtime.submit("blocked")]
    for job in jobs:
        node.runtime.wait_until_handed_out(job)
    container.signal(signal.SIGTERM)
    assert container.is_running()
    node.shared.joinpath("go").touch()
    assert container.wait() == 0
    assert [bytes(node.runtime.result(job).body) for job in jobs] == [b"done", b"done"]


def test_python_of_the_image(images: Images, node: Node) -> None:
    """A handler uses the Python of its image, and each hostile variable would break that Python."""
    hostile.write(node.folder / "hostile", with_c_library=False)
    only = {name: hostile.VARIABLES[name] for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")}
    trapped = [function(name, ["python3", "-c", "pass"], env={name: value}) for name, value in only.items()]
    config = function("version", ["python3", "-V"]) + "".join(trapped)
    mounts = [f"{node.folder}/hostile:{hostile.PLACE}:ro"]
    node.start(Spec(image=images.root("debian11"), config=config, mounts=mounts))
    assert node.runtime.call("version").startswith(b"Python 3.9.")
    for name in only:
        assert error_of(node.runtime.result(node.runtime.submit(name)))["reason"] == "exit", name


def test_a_handler_runs_with_another_c_library(images: Images, node: Node) -> None:
    node.start(Spec(image=images.root("musl"), config=function("copy", ["/bin/copy"])))
    assert node.runtime.call("copy", b"[1]") == b"[1]"


def test_the_original_connection_file_works(images: Images, node: Node) -> None:
    node.start(Spec(image=images.root("busybox"), config=CONFIG, variables=node.replica.original()))
    assert node.runtime.call("echo", b"[1]") == b"[1]"
