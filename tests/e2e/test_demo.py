"""`make demo` shows what it says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def play(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command of the Makefile, without colour."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.demo"],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_demo() -> None:
    """The demo passes."""
    played = play(ROOT)
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stdout.endswith("\nEverything passed.\n")
    assert "FAILED" not in played.stdout
    assert "\033" not in played.stdout
    assert not played.stderr


def test_failing_demo(tmp_path: Path) -> None:
    """The demo fails if something is not as it says."""
    for name in ("scripts", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "examples" / "python" / "result.json").write_text('{"median": 1}')
    played = play(tmp_path)
    assert played.returncode == 1, played.stdout + played.stderr
    assert "FAILED  python: the result is that of result.json" in played.stdout
