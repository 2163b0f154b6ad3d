import os
import subprocess
import sys
from pathlib import Path

import pytest

from cm_exec.devserver.client import Instance, list_running, registered


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / f"cm-exec-{os.getuid()}"


def instance(pid: int) -> Instance:
    return Instance(pid=pid, url="http://127.0.0.1:8950", config_path="/project/cm.toml")


def test_it_is_found_while_it_runs_and_not_after(folder: Path) -> None:
    assert list_running() == []
    with registered(instance(os.getpid())):
        assert list_running() == [instance(os.getpid())]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list_running() == []


def test_what_a_killed_one_left_is_removed(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    with registered(instance(gone.pid)):
        assert list_running() == []
        assert list(folder.iterdir()) == []


def test_a_folder_that_others_can_write_to_is_not_believed(folder: Path) -> None:
    with registered(instance(os.getpid())):
        folder.chmod(0o777)
        assert list_running() == []


def test_half_a_file_is_passed_over(folder: Path) -> None:
    with registered(instance(os.getpid())):
        (folder / "dev-1.json").write_text('{"pid": 1, "url"')
        assert list_running() == [instance(os.getpid())]


def test_without_a_place_for_the_file_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/nowhere")
    with registered(instance(os.getpid())):
        assert list_running() == []
