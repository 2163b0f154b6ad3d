"""Run the official SDKs as workers of the local runtime."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cm_exec.local_runtime import LocalRuntime

ROOT = Path(__file__).resolve().parent.parent.parent
WORKERS = ROOT / "tests" / "dev" / "workers"
PYTHON = ROOT / ".venv-sdk-python" / "bin" / "python"
NODE_PATH = ROOT / ".sdk-typescript" / "node_modules"


def _absent(what: str) -> None:
    reason = f"the official {what} SDK is not installed: run scripts/install-official-sdks"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def python_command() -> list[str]:
    """Start the module on the Python SDK. Without the SDK the test is skipped; in CI it fails."""
    if not list(PYTHON.parent.parent.glob("lib/python3*/site-packages/compute_modules")):
        _absent("Python")
    return [str(PYTHON), str(WORKERS / "python_sdk.py")]


def typescript_command() -> list[str]:
    """Start the module on the TypeScript SDK. Without the SDK the test is skipped; in CI it fails."""
    node = shutil.which("node")
    if node is None or not (NODE_PATH / "@palantir" / "compute-module").is_dir():
        _absent("TypeScript")
    return [node or "", str(WORKERS / "typescript_sdk.cjs")]


@contextmanager
def worker(command: list[str], runtime: LocalRuntime, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a worker in its own session. At the end all its processes are killed, and its output is shown."""
    log = folder / "worker.log"
    environment: Mapping[str, str] = {**os.environ, **runtime.environment(), "NODE_PATH": str(NODE_PATH)}
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            kill(process)
    print(f"--- {log.name}", log.read_text(errors="replace")[-4000:], sep="\n")


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker and its pool, as a container's end does."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()
