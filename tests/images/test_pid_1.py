"""cm-exec as PID 1 of a container: how it ends, and what happens when memory does."""

import signal

import pytest

from tests.support.answers import error_of
from tests.support.images.images import Images
from tests.support.images.needs import PATIENCE, needs_containers, needs_memory_limit
from tests.support.images.node import Node
from tests.support.images.spec import NOEXEC_TMP, Spec
from tests.support.request_log import Endpoint
from tests.support.toml import function, table

pytestmark = [needs_containers(), pytest.mark.timeout(PATIENCE)]

ECHO = function("echo", ["cat"])
ENDLESS = function("endless", ["sleep", "300"])
GREEDY = function("greedy", ["dd", "if=/dev/zero", "of=/dev/null", "bs=512M", "count=1"])


@pytest.mark.parametrize(
    ("arguments", "config", "status"),
    [(["run", "--no-such-option"], ECHO, 2), (["run"], "[functions]\n", 3), (["run"], ECHO, 4)],
)
def test_exit_status(images: Images, node: Node, arguments: list[str], config: str, status: int) -> None:
    """The container exits with the status that the README documents."""
    container = node.launch(Spec(image=images.root("busybox"), arguments=arguments, config=config, variables={}))
    assert container.wait() == status
    assert container.stderr
    assert "Traceback" not in container.log


def test_second_signal(images: Images, node: Node) -> None:
    """A second signal ends the container at once."""
    config = ENDLESS + table("launcher", drain_timeout=600)
    container = node.start(Spec(image=images.root("busybox"), config=config))
    node.runtime.wait_until_handed_out(node.runtime.submit("endless"))
    container.terminate()
    container.wait_for_log("SIGTERM")
    container.terminate()
    assert container.wait() == 128 + signal.SIGTERM


@needs_memory_limit()
def test_handler_without_memory(images: Images, node: Node) -> None:
    """A job whose handler is killed for its memory is answered, and the launcher survives."""
    options = (*NOEXEC_TMP, "--memory", "128m", "--memory-swap", "128m")
    container = node.start(Spec(image=images.root("busybox"), config=GREEDY + ECHO, options=options))
    error = error_of(node.runtime.result(node.runtime.submit("greedy")), function="greedy")
    assert (error["reason"], error["signal"]) == ("signal", "SIGKILL")
    assert node.runtime.call("echo", b"[1]") == b"[1]"
    assert len(node.runtime.request_log.all(Endpoint.RESTART)) == 1
    assert container.stop() == 0
