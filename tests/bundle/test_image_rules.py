"""`cm-exec check --image-rules` where nearly nothing is."""

import subprocess
from pathlib import Path

from tests.support.bundle import HOME
from tests.support.toml import function


def test_empty_root(empty_root: list[str]) -> None:
    """An empty root violates the rules that require programs."""
    Path(empty_root[-1], "cm.toml").write_text(function("f", "cat") + function("g", ["/bin/cat"]))
    command = [*empty_root, str(HOME / "bin" / "cm-exec"), "check", "--image-rules"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    broken = done.stderr.partition("rules: ")[2].strip().split(", ")
    assert [name for name in broken if name != "user"] == ["shell", "tee", "echo", "handlers"]
    assert "functions.f: command: there is no /bin/sh to run the command" in done.stdout
    assert "functions.g: command: '/bin/cat' does not exist" in done.stdout
    assert "Traceback" not in done.stderr
