"""What bash proposes at TAB, with the completion that ships in the wheel."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.tools import needs
from tests.support.worker import CM_EXEC

SCRIPT = ROOT / "share" / "bash-completion" / "completions" / "cm-exec"
ASK = """
. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { :; } # bash has it only while somebody types
_cm_exec_completion cm-exec
printf '%s\\n' "${COMPREPLY[@]}"
"""

pytestmark = needs("bash")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cm.toml").write_text("[functions]\ndouble = 'cat'\ndaily = 'cat'\nshout = 'cat'\n")
    (tmp_path / "other.toml").write_text("[functions]\nelsewhere = 'cat'\n")
    (tmp_path / "wrong.toml").write_text("[functions]\nhalf = 'cat'\ncomand = 3\n")
    (tmp_path / "torn.toml").write_text("[functions\n")
    return tmp_path


def proposed(folder: Path, *words: str) -> list[str]:
    """Return the proposals for the last of the words."""
    path = f"{Path(CM_EXEC).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", SCRIPT, "cm-exec", *words],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["inv"], ["invoke"]),
        (["invoke", "d"], ["double", "daily"]),
        (["bench", "double", "s"], ["shout"]),
        (["test", "d"], ["double", "daily"]),
        (["invoke", "--config", "other.toml", ""], ["elsewhere"]),
        (["invoke", "-c", "wrong.toml", "h"], ["half"]),
        (["invoke", "-c", "torn.toml", ""], []),
        (["invoke", "-c", "none.toml", ""], []),
        (["run", "--log-format", ""], ["text", "sls"]),
        (["bench", "--mode", "p"], ["prespawn", "persistent"]),
        (["--log"], ["--log-format", "--log-level"]),
        (["--concurrency", "2", "--drain"], ["--drain-timeout"]),
        (["--he"], ["--help"]),
    ],
)
def test_proposals(folder: Path, words: list[str], expected: list[str]) -> None:
    assert proposed(folder, *words) == expected


def test_all_commands(folder: Path) -> None:
    assert {"run", "init", "invoke", "check", "test", "dev", "bench", "schema"} <= set(proposed(folder, ""))
