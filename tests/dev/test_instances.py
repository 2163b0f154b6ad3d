import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cm_exec.devserver.instances import Instance, list_running, registered
from cm_exec.devserver.main import _ready_file
from cm_exec.local_runtime import LocalRuntime
from cm_exec.terminal import Terminal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / f"cm-exec-{os.getuid()}"


def instance(pid: int) -> Instance:
    return Instance(pid=pid, url="http://127.0.0.1:8950", config_path="/project/cm.toml")


def test_registration(folder: Path) -> None:
    """An instance is listed while it runs, and not afterwards."""
    assert list_running() == []
    with registered(instance(os.getpid())):
        assert list_running() == [instance(os.getpid())]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list_running() == []


def test_killed_instance(folder: Path) -> None:
    """The file of a killed instance is removed."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    with registered(instance(gone.pid)):
        assert list_running() == []
        assert list(folder.iterdir()) == []


def test_writable_folder(folder: Path) -> None:
    """A folder that other users can write to is ignored."""
    with registered(instance(os.getpid())):
        folder.chmod(0o777)
        assert list_running() == []


def test_incomplete_file(folder: Path) -> None:
    """An incomplete file is skipped."""
    with registered(instance(os.getpid())):
        (folder / "dev-1.json").write_text('{"pid": 1, "url"')
        assert list_running() == [instance(os.getpid())]


def test_missing_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance runs also if no folder for its file exists."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/nowhere")
    with registered(instance(os.getpid())):
        assert list_running() == []


def test_late_ready_file(serving: LocalRuntime, tmp_path: Path) -> None:
    """A worker that polls for the first time at the very end leaves no ready file."""
    path = tmp_path / "ready.json"
    args = cast("Any", SimpleNamespace(ready_file=path, env_style="modern"))
    with _ready_file(args, serving, Terminal()) as announce:
        announce()
        assert path.exists()
    announce()
    assert not path.exists()
