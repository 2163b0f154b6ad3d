"""The documents show commands with their real output."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cm_exec.cli.program import program
from tests.support.documents import PAGES, Block, blocks, shown
from tests.support.tools import needs, search_path

TOOLS = {"jq": ["jq"], "node": ["node"], "java": ["java", "javac"], "perl": ["perl"], "convert": ["convert"]}
"""What a word in a session or its files needs."""

MARK = "\x1e"
"""Between the output of one command and the next: ASCII's record separator, which no command here writes."""


def sessions() -> Iterator[Any]:
    """Yield each console block with the files above it on its page."""
    for page in PAGES:
        files: dict[str, str] = {}
        for block in blocks(page):
            if block.file:
                files[block.file] = block.text
            if block.language == "console":
                text = block.text + "".join(files.values())
                used = [tool for word, tools in TOOLS.items() if re.search(rf"\b{word}\b", text) for tool in tools]
                yield pytest.param(dict(files), block, marks=needs(*used), id=f"{shown(page)}:{block.line}")


@pytest.mark.parametrize(("files", "block"), list(sessions()))
def test_output(files: dict[str, str], block: Block, tmp_path: Path) -> None:
    """Each command prints what the document shows."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    steps = list(commands(block))
    printed = run([command for command, _ in steps], tmp_path)
    for (command, expected), output in zip(steps, printed, strict=True):
        assert re.fullmatch(pattern(expected), output.strip("\n")), f"$ {command}\n{output}"


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a block with its output."""
    first, *rest = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not first
    for step in rest:
        command, _, output = step.partition("\n")
        yield command, output.strip("\n")


def pattern(expected: str) -> str:
    """Return the expected output as a regular expression. A duration in milliseconds may be one in seconds."""
    return "\n".join(
        r"[\s\S]*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))).replace(r".*\ ms", r".*\ m?s")
        for line in expected.split("\n")
    )


@pytest.mark.parametrize(
    ("output", "matches"),
    [
        ("FAIL f\n2 tests: 2 passed, in 7.3 ms", True),
        ("a\nb\n2 tests: 2 passed, in 1.02 s", True),
        ("a line that is rather long\n" * 100 + "2 tests: 1 failed", False),
    ],
)
def test_pattern(output: str, *, matches: bool) -> None:
    """The comparison ends also when it fails."""
    assert bool(re.fullmatch(pattern("…\n2 tests: 2 passed, in … ms"), output)) is matches


def run(steps: list[str], folder: Path) -> list[str]:
    """Run the commands in one shell and return what each prints, stderr included."""
    script = "\n".join(f"{step}\n__status=$?; printf '{MARK}'; (exit $__status)" for step in steps)
    bin_folder = Path(sys.executable).parent
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CM_EXEC_", "VIRTUAL_ENV"))}
    environment = {**clean, "PATH": f"{bin_folder}{os.pathsep}{search_path(*TOOLS)}", "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout.split(MARK)[: len(steps)]


def test_number_of_sessions() -> None:
    """The documents have sessions, so the test above checks something."""
    assert len(list(sessions())) >= 5


def lines_with_cm_exec() -> Iterator[Any]:
    """Yield the commands of cm-exec in blocks that are shown but not run."""
    for page in PAGES:
        for block in blocks(page):
            for line in block.text.splitlines() if block.language == "sh" else ():
                if line.startswith("cm-exec"):
                    yield pytest.param(line, id=f"{shown(page)}: {line}")


@pytest.mark.parametrize("line", list(lines_with_cm_exec()))
def test_options_of_commands(line: str) -> None:
    """A command that a document only shows exists, with its options."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index("--")] if "--" in words else words
    context = click.Context(program)
    verb = words[0] if words and not words[0].startswith("-") else "run"
    command = program.get_command(context, verb)
    assert command is not None
    known = {name for each in (command, program) for parameter in each.get_params(context) for name in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known
