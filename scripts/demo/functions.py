"""The functions of the demo: those of examples/, and some that misbehave."""

import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cm_exec.text import toml_value

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
SLOTS: Final = 4
"""MAX_CONCURRENT_TASKS."""

BAD_DAYS: Final = f"""
[functions]
verbatim = "cat"
fail = "echo 'no such customer: 4711' >&2; exit 3"
crash = "kill -SEGV $$"
meet = "touch seat-$CM_JOB_ID; until [ $(ls seat-* | wc -l) -ge {SLOTS} ]; do sleep 0.05; done; cat"
slow = "touch slow-has-begun; sleep 2; cat"

[functions.hang]
command = "sleep 600"
timeout = 1

[functions.flood]
command = ["yes"]
max_output = "1MiB"
"""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A folder of examples/. `probes` are commands that succeed where its language is installed."""

    folder: str
    probes: Sequence[Sequence[str]]

    @property
    def table(self) -> tuple[str, dict[str, Any]]:
        """The function's name, and its options from cm.toml."""
        functions = tomllib.loads((EXAMPLES / self.folder / "cm.toml").read_text())["functions"]
        ((name, options),) = functions.items()
        return name, options if isinstance(options, dict) else {"command": options}

    @property
    def missing(self) -> list[str]:
        """The probes that fail on this machine."""
        return [probe[0] for probe in self.probes if not succeeds(probe)]


LANGUAGES: Final = (
    Example(folder="python", probes=[("python3", "--version")]),
    Example(folder="shell-jq", probes=[("jq", "--version")]),
    Example(folder="node", probes=[("node", "--version")]),
    Example(folder="perl", probes=[("perl", "-MJSON::PP", "-e", "1")]),
    Example(folder="c", probes=[("cc", "--version")]),
    Example(folder="java", probes=[("java", "-version"), ("javac", "-version")]),
    Example(folder="imagemagick", probes=[("jq", "--version"), ("convert", "-version")]),
)


def succeeds(command: Sequence[str]) -> bool:
    """Whether the command can be run, with exit status 0."""
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def lay_out(folder: Path, examples: Sequence[Example]) -> None:
    """Copy the examples' handlers and make one cm.toml of theirs."""
    tables = []
    for example in examples:
        shutil.copytree(EXAMPLES / example.folder, folder / example.folder)
        name, options = example.table
        tables.append(toml_table(name, {**options, "cwd": example.folder}))
    (folder / "cm.toml").write_text("\n".join(tables) + BAD_DAYS)
    if (folder / "c").exists():
        subprocess.run(["./build"], cwd=folder / "c", check=True)


def toml_table(name: str, options: dict[str, Any]) -> str:
    """Return the table of a function as TOML."""
    lines = [f"[functions.{name}]", *(f"{key} = {toml_value(value)}" for key, value in options.items())]
    return "\n".join(lines) + "\n"
