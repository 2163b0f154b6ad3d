"""A machine that runs the containers of a test, with a runtime for them."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.certificates import Authority
from tests.support.images.container import Container
from tests.support.images.spec import APP, Spec
from tests.support.images.store import Store
from tests.support.replica import Replica
from tests.support.scripted_runtime import ScriptedRuntime

SHARED: Final = "/shared"
"""A folder that tests and handlers can both write to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`folder` holds the replica's files and what the containers write."""

    store: Store
    folder: Path
    runtime: ScriptedRuntime
    replica: Replica
    containers: list[Container] = field(default_factory=list)

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def start(self, spec: Spec) -> Container:
        """Start a worker and wait for its first poll."""
        container = self.launch(spec)
        container.wait_until_ready()
        return container

    def launch(self, spec: Spec) -> Container:
        """Start a container."""
        name = f"cm-exec-{uuid.uuid4().hex[:12]}"
        outside = self.folder / name
        outside.mkdir()
        options = ["--name", name, "--pidfile", str(outside / "pid")]
        for mount in (f"{self.replica.folder}:{self.replica.folder}:ro", f"{self.shared}:{SHARED}"):
            options += ["--volume", mount]
        if spec.config is not None:
            outside.joinpath("app").mkdir()
            outside.joinpath("app", "cm.toml").write_text(spec.config)
            options += ["--volume", f"{outside}/app:{APP}:ro"]
        container = self._run(list(spec.podman(*options, platform=self.replica.modern())), name, outside)
        self.containers.append(container)
        return container

    def execute(self, container: Container, *command: str) -> bytes:
        """Run another program in a running container and return its output."""
        done = subprocess.run(
            ["podman", "exec", container.name, *command],
            env=self.store.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def finish(self) -> None:
        """Stop the containers. Fails if a worker does not exit with status 0."""
        stopped = {container.name: container.stop() for container in self.containers if container.is_running()}
        assert not any(stopped.values()), stopped

    def end(self) -> None:
        """End all containers, and print their output."""
        for container in self.containers:
            container.end()
            print(f"--- {container.name} (exit {container.process.returncode})", container.log[-6000:], sep="\n")

    def _run(self, command: list[str], name: str, outside: Path) -> Container:
        stdout_file, stderr_file = outside / "stdout", outside / "stderr"
        with stdout_file.open("wb") as out, stderr_file.open("wb") as err:
            process = subprocess.Popen(
                command,
                cwd=outside,  # conmon writes a file "oom" where it stands
                env=self.store.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return Container(
            process=process,
            runtime=self.runtime,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            mark=name,
            folder=outside,
            is_wrapped=False,
            name=name,
            pid_file=outside / "pid",
        )


@contextmanager
def open_node(store: Store, folder: Path, authority: Authority) -> Iterator[Node]:
    """Create a node with its own runtime. At the end its containers must stop with status 0."""
    with ScriptedRuntime(authority.good()) as runtime:
        replica = Replica(folder=folder / "replica", runtime=runtime, ca_pem=authority.pem)
        replica.write()
        node = Node(store=store, folder=folder, runtime=runtime, replica=replica)
        node.shared.mkdir()
        node.shared.chmod(0o777)
        try:
            yield node
            node.finish()
        finally:
            node.end()
