"""A worker in a container against `cm-exec dev` on the machine, by the lines that it prints."""

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_dev_any_worker import WORKER
from tests.support.dev_program import started_dev
from tests.support.images.images import Images
from tests.support.images.needs import PATIENCE, needs_containers
from tests.support.images.spec import ISOLATION
from tests.support.images.store import Store

pytestmark = [needs_containers(), pytest.mark.timeout(PATIENCE)]

USER = "5000:5000"


@contextmanager
def container(images: Images, store: Store, folder: Path, options: Sequence[str]) -> Iterator[None]:
    """Run the worker in a container with these options of `docker run`, as a user that the machine does not know."""
    (folder / "app").mkdir(exist_ok=True)
    (folder / "app" / "app.py").write_text(WORKER)
    isolation = [option for option in ISOLATION if option not in {"--rm", "host", "--network"}]
    command = [
        *("podman", "run", "--rm", "--user", USER, "--network", "host", *isolation, *options),
        *("-v", f"{folder}/app:/app:ro", images.python(), "python3", "/app/app.py"),
    ]
    with subprocess.Popen(command, env=store.environment(), cwd=folder) as running:
        try:
            yield
        finally:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()


def printed(output: str) -> list[str]:
    """Return the options of the first `docker run` line, without the network, which the test chooses."""
    line = next(line for line in output.splitlines() if line.startswith("docker run --rm "))
    words = shlex.split(line)[3:-1]
    return words[2:] if words[0] == "--network" else words


@pytest.mark.parametrize("style", ["modern", "connection-file"])
def test_the_printed_line_connects_a_container(images: Images, store: Store, tmp_path: Path, style: str) -> None:
    with started_dev(tmp_path, "--no-worker", "--env-file", "worker.env", "--env-style", style) as program:
        program.wait_for_output("docker run")
        with container(images, store, tmp_path, printed(program.output)):
            assert program.call("echo", b"[1]") == b"[1]"


@pytest.mark.parametrize("style", ["modern", "connection-file"])
def test_a_container_reaches_it_by_another_name(images: Images, store: Store, tmp_path: Path, style: str) -> None:
    name = ("--listen", "0.0.0.0", "--name", "runtime.example")
    with started_dev(tmp_path, "--no-worker", "--env-file", "worker.env", "--env-style", style, *name) as program:
        program.wait_for_output("docker run")
        variables = (tmp_path / "worker.env").read_text()
        directory = program.state["environment"]["MODULE_AUTH_TOKEN"].rpartition("/")[0]
        options = [
            "-v",
            f"{directory}:{directory}:ro",
            "--env-file",
            "worker.env",
            "--add-host",
            "runtime.example:127.0.0.1",
        ]
        assert ("runtime.example" in variables) is (style == "modern")
        with container(images, store, tmp_path, options):
            assert program.call("echo", b"2") == b"2"
