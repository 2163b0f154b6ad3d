"""The platform collects logs by a shell around the entry point: that shell is PID 1, and it passes no signal on."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.core import State
from tests.support.images.container import Container
from tests.support.images.images import Images
from tests.support.images.needs import PATIENCE, needs_containers
from tests.support.images.node import SHARED, Node
from tests.support.images.spec import PROGRAM, Spec
from tests.support.processes import children, inhabitants, pid_namespace, wait_until
from tests.support.toml import function

pytestmark = [needs_containers(), pytest.mark.timeout(PATIENCE)]

WRAPPER: Final = f"set -eu; {PROGRAM} run | tee {SHARED}/log"

CONFIG: Final = function("echo", ["cat"]) + function("endless", "setsid sleep 300 & sleep 300; printf done")


def wrapped(images: Images) -> Spec:
    return Spec(image=images.base(), entrypoint="/bin/sh", arguments=["-c", WRAPPER], config=CONFIG)


def process_called(name: str, container: Container) -> int:
    """Return the PID of the shell's child with this name in its command."""
    (found,) = [child.pid for child in children(container.pid) if name in child.command.split(maxsplit=1)[0]]
    return found


def test_sigterm_to_the_shell(images: Images, node: Node) -> None:
    """A SIGTERM to the shell changes nothing, and the log is collected."""
    container = node.start(wrapped(images))
    container.signal(signal.SIGTERM)
    job = node.runtime.submit("echo", b"[1]")
    assert bytes(node.runtime.result(job).body) == b"[1]"
    log = node.shared / "log"
    wait_until(lambda: job in log.read_text(), what="the job in the log")
    wait_until(lambda: job in container.stdout, what="the job on stdout")
    end(container)


def test_without_tee_jobs_go_on(images: Images, node: Node) -> None:
    container = node.start(wrapped(images))
    assert node.runtime.call("echo", b"[1]") == b"[1]"
    os.kill(process_called("tee", container), signal.SIGKILL)
    jobs = [node.runtime.submit("echo", b"%d" % n) for n in range(20)]
    assert [bytes(node.runtime.result(job).body) for job in jobs] == [b"%d" % n for n in range(20)]
    assert jobs[-1] not in (node.shared / "log").read_text()
    end(container)


def test_sigterm_to_cm_exec(images: Images, node: Node) -> None:
    """A SIGTERM to cm-exec beneath the shell starts a drain, and the container ends."""
    container = node.start(wrapped(images))
    node.runtime.release_polls()
    os.kill(process_called("python", container), signal.SIGTERM)
    assert container.wait() == 0


def test_restart_of_the_container(images: Images, node: Node, tmp_path: Path) -> None:
    """No process survives the shell, and the next start releases the job."""
    with LocalRuntime(tmp_path / "runtime", max_concurrent_tasks=1) as runtime:
        files = runtime.files.directory
        spec = replace(wrapped(images), variables=runtime.environment(), mounts=[f"{files}:{files}:ro"])
        container = node.launch(spec)
        lost = runtime.submit("endless", b"null")
        wait_until(lambda: len(inhabitants(pid_namespace(container.pid))) >= 6, what="the handler's start")
        namespace = pid_namespace(container.pid)
        end(container)
        assert inhabitants(namespace) == []
        waiting = runtime.submit("echo", b"[1]")
        node.launch(spec)
        assert lost.wait_ended(60).state is State.LOST
        assert waiting.wait(60).body == b"[1]"
        end(node.containers[-1])


def end(container: Container) -> None:
    """As the platform ends what did not end itself."""
    os.kill(container.pid, signal.SIGKILL)
    assert container.wait() == 128 + signal.SIGKILL
